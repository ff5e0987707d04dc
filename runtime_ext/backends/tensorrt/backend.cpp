#include <algorithm>
#include <charconv>
#include <map>
#include <mutex>
#include <sstream>

#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "backends/tensorrt/allocator.h"
#include "backends/tensorrt/builder.h"
#include "backends/tensorrt/engine.h"
#include "backends/tensorrt/plan_file.h"
#include "core/device_health.h"
#include "core/memory.h"

namespace trtserve::tensorrt {

namespace {

/// The lines of one setting; empty if it is not set.
std::vector<std::string> lines(const BackendConfig& config, const std::string& key) {
  const auto found = config.find(key);
  if (found == config.end()) return {};
  std::vector<std::string> all;
  std::istringstream text(found->second);
  for (std::string line; std::getline(text, line);) {
    if (!line.empty()) all.push_back(line);
  }
  return all;
}

bool is_set(const BackendConfig& config, const std::string& key) {
  const auto found = config.find(key);
  return found != config.end() && found->second == "1";
}

/// The device that "auto", "cuda" or "cuda:N" stands for.
at::Device parse_device(const std::string& text, c10::DeviceType type) {
  const c10::DeviceIndex count = c10::impl::VirtualGuardImpl(type).deviceCount();
  if (text == "auto" || text == "cuda") return {type, 0};
  constexpr std::string_view kPrefix = "cuda:";
  int index = -1;
  if (text.rfind(kPrefix, 0) == 0) {
    const auto parsed = std::from_chars(text.data() + kPrefix.size(), text.data() + text.size(), index);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) index = -1;
  }
  if (index < 0) fail(Kind::Unsupported, "device is '", text, "'; the tensorrt backend runs on cuda");
  if (index >= count) {
    fail(Kind::InvalidInput, "device is '", text, "'; this machine has ", static_cast<int>(count),
         " CUDA devices, starting with cuda:0");
  }
  return {type, static_cast<c10::DeviceIndex>(index)};
}

/// The devices of an option: "all", or names as parse_device() takes them with commas between them.
std::vector<at::Device> parse_devices(const std::string& option, c10::DeviceType type) {
  std::vector<at::Device> devices;
  if (option == "all") {
    const c10::DeviceIndex count = c10::impl::VirtualGuardImpl(type).deviceCount();
    for (c10::DeviceIndex i = 0; i < count; ++i) devices.emplace_back(type, i);
    return devices;
  }
  std::istringstream text(option);
  for (std::string name; std::getline(text, name, ',');) devices.push_back(parse_device(name, type));
  if (devices.empty()) fail(Kind::Unsupported, "device is ''; the tensorrt backend runs on cuda");
  return devices;
}

/// The name of a device as the option has it, whatever torch calls its type.
std::string option_of(at::Device device) { return c10::str("cuda:", static_cast<int>(device.index())); }

/// Settings: "libraries" (candidates for the runtime library, one a line, tried in their order), "plugins"
/// (libraries of TensorRT plugins, one a line), "allow_host_code" ("1": plans may bring code for the host), "spin"
/// ("1": threads that wait for the device spin).
class TensorRtBackend final : public Backend {
 public:
  explicit TensorRtBackend(const BackendConfig& config)
      : libraries_(lines(config, "libraries")),
        library_(std::make_shared<const Library>(libraries_)),
        options_{lines(config, "plugins"), is_set(config, "allow_host_code"),
                 is_set(config, "spin") ? Wait::Spin : Wait::Sleep} {}

  std::string version() const override { return library_->version(); }

  std::vector<std::string> devices(const std::string& option) override {
    if (option == "cpu") fail(Kind::Unsupported, "device is 'cpu'; the tensorrt backend runs on cuda");
    const auto named = parse_devices(option, usable_device_type());
    const bool some_live = std::any_of(named.begin(), named.end(), is_alive);
    std::vector<std::string> options;
    for (const at::Device device : named) {
      if (is_alive(device) || !some_live) options.push_back(option_of(device));
    }
    return options;
  }

  std::unique_ptr<BackendEngine> load(const std::string& plan_path, const LoadOptions& options) override {
    parse_graph_mode(options.cuda_graphs);  // checked before a load that takes minutes
    const at::Device device = parse_device(options.device, usable_device_type());
    check_alive(device);
    const c10::DeviceGuard on(device);
    const auto runtime = this->runtime(device);
    const PlanFile plan(plan_path);
    try {
      std::vector<std::unique_ptr<nvinfer1::ICudaEngine>> engines;
      const int copies = generation::kProfilesAreShared ? 1 : TensorRtEngine::instances(options);
      const AllocationTally tally;
      const int64_t outside = outside_allocator(device);
      for (int i = 0; i < copies; ++i) engines.push_back(runtime->deserialize(plan.data(), plan.size()));
      // Kernels' code and the like; what another load or process takes at the same time is in it.
      const int64_t other = std::max<int64_t>(0, outside_allocator(device) - outside);
      return std::make_unique<TensorRtEngine>(runtime, std::move(engines), device, options,
                                              MemoryByKind{{"weights", tally.bytes()}, {"other", other}});
    } catch (...) {
      throw explained(device, "the load", std::current_exception());
    }
  }

  bool builds() override { return can_build(place()); }

  void build(const std::string& model, const std::string& plan, const BuildOptions& options,
             BuildProgress& progress) override {
    if (options.device == "cpu") {
      fail(Kind::Unsupported, "device is 'cpu'; the tensorrt backend builds plans on the GPU that will run them");
    }
    check_build_options(options);
    const at::Device device = parse_devices(options.device, usable_device_type()).front();
    check_alive(device);
    const c10::DeviceGuard on(device);
    try {
      build_plan(place(), device, model, plan, options, progress);
    } catch (...) {
      throw explained(device, "the build", std::current_exception());
    }
  }

 private:
  BuildPlace place() const { return {*library_, libraries_, options_.plugins}; }

  /// The runtime of the current device: each has its own, so that loads on several do not wait for each other, and
  /// nothing is opened on a device without work. Created on first need, and again after a failure: a driver may have
  /// recovered.
  std::shared_ptr<TensorRtRuntime> runtime(at::Device device) {
    const std::lock_guard lock(mutex_);
    auto& runtime = runtimes_[device.index()];
    if (!runtime) runtime = std::make_shared<TensorRtRuntime>(library_, device.type(), options_);
    return runtime;
  }

  const std::vector<std::string> libraries_;
  const std::shared_ptr<const Library> library_;
  const TensorRtRuntime::Options options_;
  std::mutex mutex_;                                                       // one thread creates a runtime
  std::map<c10::DeviceIndex, std::shared_ptr<TensorRtRuntime>> runtimes_;  // guarded by mutex_
};

}  // namespace

}  // namespace trtserve::tensorrt

int trtserve_backend_abi() { return trtserve::kBackendAbi; }
trtserve::Backend* trtserve_backend_create(const trtserve::BackendConfig& config) {
  return std::make_unique<trtserve::tensorrt::TensorRtBackend>(config).release();
}
