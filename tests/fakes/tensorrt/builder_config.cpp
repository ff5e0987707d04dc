#include "builder_config.h"

#include <algorithm>
#include <sstream>

#include "fake_builder.h"

namespace trtserve::fake::trt {

namespace {

std::atomic<int> gpu{0};

constexpr std::string_view kMagic = "fake timings of GPU ";

size_t at(nvinfer1::OptProfileSelector select) { return static_cast<size_t>(select); }

bool complete(const std::map<std::string, Range>& ranges) {
  return std::all_of(ranges.begin(), ranges.end(), [](const auto& each) {
    const Range& range = each.second;
    if (range[0].size() != range[1].size() || range[1].size() != range[2].size()) return false;
    for (size_t i = 0; i < range[0].size(); ++i) {
      if (range[0][i] > range[1][i] || range[1][i] > range[2][i]) return false;
    }
    return true;
  });
}

}  // namespace

bool OptimizationProfile::setDimensions(char const* input, nvinfer1::OptProfileSelector select,
                                        nvinfer1::Dims const& dims) noexcept {
  count_call("setDimensions");
  profile_.dims[input][at(select)] = to_shape(dims);
  return true;
}

bool OptimizationProfile::setShapeValuesV2(char const* input, nvinfer1::OptProfileSelector select,
                                           int64_t const* values, int32_t count) noexcept {
  count_call("setShapeValuesV2");
  profile_.values[input][at(select)] = Shape(values, values + count);
  return true;
}

bool OptimizationProfile::isValid() const noexcept { return complete(profile_.dims) && complete(profile_.values); }

void TimingCache::operator delete(TimingCache* self, std::destroying_delete_t) {
  const auto state = destroy(self->object_);
  if (state == nullptr) return;
  state->destroyed = true;
  if (state->configs > 0) breached("delete: the timing cache was destroyed before a config that uses it");
}

nvinfer1::IHostMemory* TimingCache::serialize() const noexcept {
  const Call call(object_, "serialize");
  if (!call) return nullptr;
  std::ostringstream text;
  text << kMagic << call->gpu << ": " << call->builds << " builds";
  return std::make_unique<HostMemory>(text.str()).release();
}

void BuilderConfig::operator delete(BuilderConfig* self, std::destroying_delete_t) {
  const auto state = destroy(self->object_);
  if (state == nullptr) return;
  if (state->builder->destroyed) breached("delete: the config was destroyed after its builder");
  state->use(nullptr);
}

void BuilderConfig::setFlag(nvinfer1::BuilderFlag /*flag*/) noexcept { const Call call(object_, "setFlag"); }

void BuilderConfig::clearFlag(nvinfer1::BuilderFlag /*flag*/) noexcept { const Call call(object_, "clearFlag"); }

int32_t BuilderConfig::addOptimizationProfile(nvinfer1::IOptimizationProfile const* profile) noexcept {
  const Call call(object_, "addOptimizationProfile");
  if (!call) return -1;
  const auto& all = call->builder->profiles;
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& each) { return each.get() == profile; });
  if (found == all.end()) {
    call->builder->reporter.misuse("addOptimizationProfile", "the profile is not of this builder");
    return -1;
  }
  if (!profile->isValid()) {
    call->builder->reporter.misuse("addOptimizationProfile", "the profile is not valid");
    return -1;
  }
  call->profiles.push_back((*found)->profile());
  return static_cast<int32_t>(call->profiles.size()) - 1;
}

void BuilderConfig::setProfilingVerbosity(nvinfer1::ProfilingVerbosity /*verbosity*/) noexcept {
  const Call call(object_, "setProfilingVerbosity");
}

bool BuilderConfig::setTacticSources(nvinfer1::TacticSources /*sources*/) noexcept {
  const Call call(object_, "setTacticSources");
  return static_cast<bool>(call);
}

nvinfer1::TacticSources BuilderConfig::getTacticSources() const noexcept { return 3; }

nvinfer1::ITimingCache* BuilderConfig::createTimingCache(void const* blob, std::size_t size) const noexcept {
  const Call call(object_, "createTimingCache");
  if (!call) return nullptr;
  auto state = std::make_shared<TimingCacheState>();
  state->gpu = gpu;
  if (size > 0) {
    const std::string text(static_cast<const char*>(blob), size);
    if (std::sscanf(text.c_str(), "fake timings of GPU %d: %d builds", &state->gpu, &state->builds) != 2) {
      breached("createTimingCache: the bytes are not those of a timing cache, and TensorRT may crash");
      return nullptr;
    }
  }
  auto cache = std::make_shared<TimingCache>(std::move(state));
  keep(cache);
  return cache.get();
}

bool BuilderConfig::setTimingCache(nvinfer1::ITimingCache const& cache, bool ignore_mismatch) noexcept {
  const Call call(object_, "setTimingCache");
  const auto state = static_cast<const TimingCache&>(cache).object().get();
  if (!call || state == nullptr) return false;
  if (state->gpu != gpu && !ignore_mismatch) {
    call->builder->reporter.error(nvinfer1::ErrorCode::kINVALID_ARGUMENT, "setTimingCache", "API Usage Error",
                                  "The cache was verified on another GPU.");
    return false;
  }
  call->use(state);
  return true;
}

void BuilderConfig::setMemoryPoolLimit(nvinfer1::MemoryPoolType /*pool*/, std::size_t size) noexcept {
  const Call call(object_, "setMemoryPoolLimit");
  if (call && size == 0) call->builder->reporter.misuse("setMemoryPoolLimit", "the size is 0");
}

void BuilderConfig::setProgressMonitor(nvinfer1::IProgressMonitor* monitor) noexcept {
  const Call call(object_, "setProgressMonitor");
  if (call) call->monitor = monitor;
}

}  // namespace trtserve::fake::trt

void fake_trt_gpu(int gpu) { trtserve::fake::trt::gpu = gpu; }
