#include "builder.h"

#include <csignal>
#include <thread>

#include "builder_config.h"
#include "device_block.h"
#include "gate.h"
#include "network.h"

namespace trtserve::fake::trt {

using nvinfer1::ErrorCode;

namespace {

constexpr int64_t kScratch = 4096;  // bytes of device memory that a build uses
constexpr const char* kWhole = "Building Engine";
constexpr const char* kInner = "Timing graph nodes";

/// What TensorRT would refuse: the backend checks profiles first.
bool check_profiles(const BuilderState& builder, const Plan& plan, const std::vector<Profile>& profiles) {
  size_t ranges = 0;
  for (const auto& tensor : plan.tensors) {
    const bool needs_dims = tensor.kind == Kind::Input && tensor.is_dynamic();
    const bool needs_values = tensor.kind == Kind::ShapeInput;
    if (!needs_dims && !needs_values) continue;
    ++ranges;
    for (const auto& profile : profiles) {
      const auto& found = needs_dims ? profile.dims : profile.values;
      if (found.count(tensor.name) != 0) continue;
      builder.reporter.misuse("buildSerializedNetwork", "a profile has no range for input ", tensor.name);
      return false;
    }
  }
  if (ranges == 0 || !profiles.empty()) return true;
  builder.reporter.misuse("buildSerializedNetwork",
                          "Network has dynamic or shape inputs, but no optimization profile has been defined.");
  return false;
}

/// Reports the phases of the build, and waits in the middle of them.
void pass_phases(const ToyModel& model, nvinfer1::IProgressMonitor* monitor) {
  if (monitor != nullptr) monitor->phaseStart(kWhole, nullptr, model.phases);
  for (int32_t step = 0; step < model.phases; ++step) {
    if (!model.gate.empty() && step == model.phases / 2) toy::pass_gate(model.gate);
    if (monitor == nullptr) continue;
    monitor->phaseStart(kInner, kWhole, 2);
    monitor->stepComplete(kInner, 0);
    monitor->stepComplete(kInner, 1);
    monitor->phaseFinish(kInner);
    monitor->stepComplete(kWhole, step);
  }
  if (monitor != nullptr) monitor->phaseFinish(kWhole);
}

/// Profiles say nothing of inputs of fixed shape in a toy plan.
std::vector<Profile> without_fixed(const Plan& plan, std::vector<Profile> profiles) {
  for (auto& profile : profiles) {
    std::erase_if(profile.dims, [&](const auto& each) { return !plan.find(each.first.c_str())->is_dynamic(); });
  }
  return profiles;
}

}  // namespace

void Builder::operator delete(Builder* self, std::destroying_delete_t) {
  const auto state = destroy(self->object_);
  if (state == nullptr) return;
  state->destroyed = true;
  if (state->children > 0) {
    breached("delete: the builder was destroyed before ", state->children, " of its networks and configs");
  }
}

void Builder::setGpuAllocator(nvinfer1::IGpuAllocator* allocator) noexcept {
  const Call call(object_, "setGpuAllocator");
  if (call) call->allocator = allocator;
}

nvinfer1::IBuilderConfig* Builder::createBuilderConfig() noexcept {
  const Call call(object_, "createBuilderConfig");
  if (!call) return nullptr;
  auto config = std::make_shared<BuilderConfig>(std::make_shared<ConfigState>(call.state()));
  keep(config);
  return config.get();
}

nvinfer1::INetworkDefinition* Builder::createNetworkV2(nvinfer1::NetworkDefinitionCreationFlags flags) noexcept {
  const Call call(object_, "createNetworkV2");
  if (!call) return nullptr;
  if (flags != 0) call->reporter.misuse("createNetworkV2", "called with flags ", flags);
  auto network = std::make_shared<Network>(std::make_shared<NetworkState>(call.state()));
  keep(network);
  return network.get();
}

nvinfer1::IOptimizationProfile* Builder::createOptimizationProfile() noexcept {
  const Call call(object_, "createOptimizationProfile");
  if (!call) return nullptr;
  call->profiles.push_back(std::make_shared<OptimizationProfile>());
  return call->profiles.back().get();
}

nvinfer1::IHostMemory* Builder::buildSerializedNetwork(nvinfer1::INetworkDefinition& network,
                                                       nvinfer1::IBuilderConfig& config) noexcept {
  const Call call(object_, "buildSerializedNetwork");
  const Call net(static_cast<Network&>(network).object(), "buildSerializedNetwork");
  const Call settings(static_cast<BuilderConfig&>(config).object(), "buildSerializedNetwork");
  if (!call || !net || !settings) return nullptr;
  if (current_device() != call->device) {
    breached("buildSerializedNetwork: device ", current_device(), " was current, but the builder is on ", call->device);
  }
  if (net->weights_gone) breached("buildSerializedNetwork: the parser, which holds the weights, was destroyed");
  if (!net->model) {
    call->reporter.misuse("buildSerializedNetwork", "the network is empty");
    return nullptr;
  }
  const ToyModel& model = *net->model;
  if (!check_profiles(*call, model.plan, settings->profiles)) return nullptr;
  const auto scratch = model.no_memory ? nullptr : DeviceBlock::allocate(call->allocator, kScratch);
  if (scratch == nullptr) {
    call->reporter.error(ErrorCode::kFAILED_ALLOCATION, "buildSerializedNetwork", "OutOfMemory",
                         "Requested amount of GPU memory could not be allocated.");
    return nullptr;
  }
  pass_phases(model, settings->monitor);
  if (model.crashes) std::raise(SIGSEGV);
  if (!model.failure.empty()) {
    // The real builder works in threads of its own.
    std::thread([&] {
      call->reporter.error(ErrorCode::kINTERNAL_ERROR, "buildSerializedNetwork", "Internal Error", model.failure);
    }).join();
    return nullptr;
  }
  if (const auto& cache = settings->cache) {
    if (cache->destroyed) breached("buildSerializedNetwork: the timing cache was destroyed");
    if (cache->builds++ > 0) count_call("warm builds");
  }
  return std::make_unique<HostMemory>(make_plan(model, without_fixed(model.plan, settings->profiles))).release();
}

}  // namespace trtserve::fake::trt

void* createInferBuilder_INTERNAL(void* logger, int32_t version) noexcept {
  namespace trt = trtserve::fake::trt;
  trt::count_call("createInferBuilder_INTERNAL");
  if (logger == nullptr || version != NV_TENSORRT_VERSION) {
    trt::breached("createInferBuilder_INTERNAL: called without a logger, or with headers of version ", version);
    return nullptr;
  }
  auto builder = std::make_shared<trt::Builder>(*static_cast<nvinfer1::ILogger*>(logger));
  trt::keep(builder);
  return static_cast<nvinfer1::IBuilder*>(builder.get());
}
