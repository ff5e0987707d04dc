#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <NvInfer.h>

#include "contract.h"
#include "current.h"
#include "reporter.h"
#include "tally.h"
#include "toy_model.h"

namespace trtserve::fake::trt {

class OptimizationProfile;

/// The state of an IBuilder. One thread uses it, and whatever belongs to it, at a time.
struct BuilderState {
  explicit BuilderState(nvinfer1::ILogger& logger) : reporter(logger) {}

  static const char* gone_ancestor() { return nullptr; }

  Reporter reporter;
  nvinfer1::IGpuAllocator* allocator = nullptr;
  std::vector<std::shared_ptr<OptimizationProfile>> profiles;
  std::atomic<bool> destroyed{false};
  std::atomic<int> children{0};  // existing networks and configurations
  const int device = current_device();
  Live live{"builder"};
};

/// What belongs to a builder, during its lifetime.
struct BuilderChild {
  explicit BuilderChild(std::shared_ptr<BuilderState> of) : builder(std::move(of)) { ++builder->children; }
  ~BuilderChild() { --builder->children; }
  BuilderChild(const BuilderChild&) = delete;
  BuilderChild& operator=(const BuilderChild&) = delete;

  const char* gone_ancestor() const { return builder->destroyed ? "builder" : nullptr; }

  const std::shared_ptr<BuilderState> builder;
};

/// The state of an INetworkDefinition.
struct NetworkState : BuilderChild {
  using BuilderChild::BuilderChild;

  std::optional<ToyModel> model;
  bool weights_gone = false;  // the parser that holds them was deleted
  std::atomic<bool> destroyed{false};
  std::atomic<int> parsers{0};
  Live live{"network"};
};

/// The state of an ITimingCache.
struct TimingCacheState {
  static const char* gone_ancestor() { return nullptr; }

  int gpu = 0;
  int builds = 0;  // whose measurements it has
  std::atomic<bool> destroyed{false};
  std::atomic<int> configs{0};  // that use it
  Live live{"timing_cache"};
};

/// The state of an IBuilderConfig.
struct ConfigState : BuilderChild {
  using BuilderChild::BuilderChild;
  ~ConfigState() { use(nullptr); }

  /// Replaces the timing cache.
  void use(std::shared_ptr<TimingCacheState> next) {
    if (cache) --cache->configs;
    cache = std::move(next);
    if (cache) ++cache->configs;
  }

  std::vector<Profile> profiles;
  nvinfer1::IProgressMonitor* monitor = nullptr;
  std::shared_ptr<TimingCacheState> cache;
  Live live{"config"};
};

/// The plan, or the timing cache, as bytes.
class HostMemory final : public nvinfer1::IHostMemory {
 public:
  explicit HostMemory(std::string bytes) : bytes_(std::move(bytes)) {}

  void* data() const noexcept override { return const_cast<char*>(bytes_.data()); }
  std::size_t size() const noexcept override { return bytes_.size(); }
  nvinfer1::DataType type() const noexcept override { return nvinfer1::DataType::kINT8; }

 private:
  const std::string bytes_;
  Live live_{"host_memory"};
};

}  // namespace trtserve::fake::trt
