#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backends/tensorrt/cuda_event.h"
#include "backends/tensorrt/graph_policy.h"
#include "backends/tensorrt/profile_context.h"
#include "backends/tensorrt/runtime.h"
#include "backends/tensorrt/tensors.h"
#include "core/backend.h"

namespace trtserve::tensorrt {

class TensorRtContext;

/// A deserialized plan. Thread safe except for create_context().
class TensorRtEngine final : public BackendEngine {
 public:
  /// `engines` are copies of one plan: a single one if contexts may share its profiles, otherwise one per instance.
  /// `loaded`: the device's bytes that they took, by kind.
  TensorRtEngine(std::shared_ptr<TensorRtRuntime> runtime, std::vector<std::unique_ptr<nvinfer1::ICudaEngine>> engines,
                 at::Device device, const LoadOptions& options, MemoryByKind loaded);
  ~TensorRtEngine() override;
  TensorRtEngine(const TensorRtEngine&) = delete;
  TensorRtEngine& operator=(const TensorRtEngine&) = delete;

  const std::vector<TensorSpec>& inputs() const override { return tensors_.inputs; }
  const std::vector<TensorSpec>& outputs() const override { return tensors_.outputs; }
  at::Device device() const override { return device_; }
  int instances() const override { return instances_; }
  /// The number of instances that the options ask for.
  static int instances(const LoadOptions& options);
  std::map<std::string, std::string> properties() const override;
  std::string layers() const override;
  std::map<std::string, int64_t> counters() const override;
  MemoryByKind memory() const override;
  std::unique_ptr<ExecutionContext> create_context() override;
  std::unique_ptr<DeviceStream> create_stream() override;

  // For use by its contexts.
  const Tensors& tensors() const { return tensors_; }
  const std::string& label() const { return label_; }
  Counters& mutable_counters() { return counters_; }
  GraphPolicy& graph_policy() { return graph_policy_; }
  const CudaApi& cuda() const { return runtime_->cuda(); }
  Wait wait() const { return runtime_->wait(); }
  /// Creates a context on engine number `copy`, counted from 0.
  std::unique_ptr<ProfileContext> create_profile_context(size_t copy, int32_t profile, c10::Stream stream);
  void add(TensorRtContext& context);
  void remove(TensorRtContext& context);
  /// Frees the graphs of all contexts that do not work now.
  void free_graphs() noexcept;

 private:
  const nvinfer1::ICudaEngine& first() const { return *engines_.front(); }

  const std::shared_ptr<TensorRtRuntime> runtime_;               // before engines_, which are destroyed first
  std::vector<std::unique_ptr<nvinfer1::ICudaEngine>> engines_;  // never empty
  const at::Device device_;
  const int instances_;
  const MemoryByKind loaded_;
  const std::string label_;  // its name in the log
  const Tensors tensors_;
  Counters counters_;
  GraphPolicy graph_policy_;
  size_t contexts_made_ = 0;
  std::mutex contexts_mutex_;
  std::vector<TensorRtContext*> contexts_;  // guarded by contexts_mutex_; those that exist
  mutable std::mutex making_;  // held while a context or inspector is created: ICudaEngine allows one at a time
};

}  // namespace trtserve::tensorrt
