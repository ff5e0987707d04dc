#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "backends/tensorrt/builder_generation.h"
#include "core/build_progress.h"

namespace trtserve::tensorrt {

/// Turns TensorRT's nested phases into one fraction that never falls: a phase has its part of the step of the phase
/// around it. Thread safe: TensorRT reports from several threads.
class ProgressMonitor final : public generation::IProgressMonitor {
 public:
  /// `progress` outlives this.
  explicit ProgressMonitor(BuildProgress& progress) : progress_(progress) {}

  void phaseStart(char const* phase, char const* parent, int32_t steps) noexcept override;
  bool stepComplete(char const* phase, int32_t step) noexcept override;
  void phaseFinish(char const* phase) noexcept override;

 private:
  struct Phase {
    std::string name;
    double begin;  // of its part of the whole
    double size;   // likewise
    int32_t steps;
    int32_t done;  // steps
  };

  Phase* find(const char* name);
  void advance(double to, const Phase* now);

  BuildProgress& progress_;
  std::mutex mutex_;           // guards all that follows, and the order of the reports
  std::vector<Phase> phases_;  // that have begun and not finished, the latest last
  double fraction_ = 0;        // the greatest so far
};

}  // namespace trtserve::tensorrt
