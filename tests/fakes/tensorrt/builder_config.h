#pragma once

#include <new>

#include "build_state.h"

namespace trtserve::fake::trt {

/// The API's profile, owned by its builder.
class OptimizationProfile final : public nvinfer1::IOptimizationProfile {
 public:
  bool setDimensions(char const* input, nvinfer1::OptProfileSelector select,
                     nvinfer1::Dims const& dims) noexcept override;
  bool setShapeValuesV2(char const* input, nvinfer1::OptProfileSelector select, int64_t const* values,
                        int32_t count) noexcept override;
  bool isValid() const noexcept override;

  const Profile& profile() const { return profile_; }

 private:
  Profile profile_;
};

/// The API's timing cache: it knows only its GPU and how many builds it has seen.
class TimingCache final : public nvinfer1::ITimingCache {
 public:
  explicit TimingCache(std::shared_ptr<TimingCacheState> state) : object_("timing cache", std::move(state)) {}
  ~TimingCache() override = default;
  static void operator delete(TimingCache* self, std::destroying_delete_t);

  nvinfer1::IHostMemory* serialize() const noexcept override;

  Owned<TimingCacheState>& object() const { return object_; }

 private:
  mutable Owned<TimingCacheState> object_;
};

/// The API's configuration of a build.
class BuilderConfig final : public nvinfer1::IBuilderConfig {
 public:
  explicit BuilderConfig(std::shared_ptr<ConfigState> state) : object_("config", std::move(state)) {}
  ~BuilderConfig() override = default;
  static void operator delete(BuilderConfig* self, std::destroying_delete_t);

  void setFlag(nvinfer1::BuilderFlag flag) noexcept override;
  void clearFlag(nvinfer1::BuilderFlag flag) noexcept override;
  int32_t addOptimizationProfile(nvinfer1::IOptimizationProfile const* profile) noexcept override;
  void setProfilingVerbosity(nvinfer1::ProfilingVerbosity verbosity) noexcept override;
  bool setTacticSources(nvinfer1::TacticSources sources) noexcept override;
  nvinfer1::TacticSources getTacticSources() const noexcept override;
  nvinfer1::ITimingCache* createTimingCache(void const* blob, std::size_t size) const noexcept override;
  bool setTimingCache(nvinfer1::ITimingCache const& cache, bool ignore_mismatch) noexcept override;
  void setMemoryPoolLimit(nvinfer1::MemoryPoolType pool, std::size_t size) noexcept override;
  void setProgressMonitor(nvinfer1::IProgressMonitor* monitor) noexcept override;

  Owned<ConfigState>& object() const { return object_; }

 private:
  mutable Owned<ConfigState> object_;
};

}  // namespace trtserve::fake::trt
