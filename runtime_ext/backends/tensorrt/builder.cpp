#include "backends/tensorrt/builder.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>

#include "backends/tensorrt/allocator.h"
#include "backends/tensorrt/build_log.h"
#include "backends/tensorrt/build_profiles.h"
#include "backends/tensorrt/builder_generation.h"
#include "backends/tensorrt/builder_library.h"
#include "backends/tensorrt/onnx_ignored.h"
#include "backends/tensorrt/onnx_model.h"
#include "backends/tensorrt/onnx_parser.h"
#include "backends/tensorrt/precision.h"
#include "backends/tensorrt/progress_monitor.h"
#include "backends/tensorrt/tactics.h"
#include "backends/tensorrt/timing_cache.h"
#include "core/error.h"
#include "core/mapped_file.h"

namespace trtserve::tensorrt {

namespace {

/// One build, with TensorRT's objects in the order in which they need each other. Not thread safe.
class PlanBuilder {
 public:
  PlanBuilder(const BuildPlace& place, at::Device device, const std::string& model, const BuildOptions& options,
              BuildProgress& progress)
      : version_(place.library.version()),
        options_(options),
        precision_(parse_precision(options.precision)),
        model_(model),
        library_(place.library, place.libraries),
        allocator_(device.type()),
        monitor_(progress),
        timing_cache_(options.timing_cache, version_) {
    log_.clear();
    check_external_data(model_.bytes(), model, options.external_data);
    check_nothing_is_ignored(model_.bytes(), version_);
    create_builder(place.plugins);
    network_.reset(generation::create_network(*builder_, precision_));
    if (!network_) fail_to_start();
    parser_.reset(library_.create_parser(*network_, log_));
    if (!parser_) fail_to_start();
    parse(*parser_, model_.bytes(), model, log_, version_);
    config_.reset(builder_->createBuilderConfig());
    if (!config_) fail_to_start();
    configure();
    add_profiles();
  }

  /// Blocks for minutes.
  std::unique_ptr<nvinfer1::IHostMemory> build() {
    log_.clear();
    std::unique_ptr<nvinfer1::IHostMemory> plan(builder_->buildSerializedNetwork(*network_, *config_));
    if (!plan || plan->size() == 0) {
      log_.fail_with_errors(Kind::InvalidInput, c10::str("TensorRT ", version_, " cannot build a plan from the model"));
    }
    timing_cache_.save();
    return plan;
  }

 private:
  [[noreturn]] void fail_to_start() const {
    log_.fail_with_errors(Kind::Unavailable, "TensorRT's builder cannot start");
  }

  void create_builder(const std::vector<std::string>& plugins) {
    library_.register_plugins(log_);
    log_.clear();
    auto* created = library_.create_builder(log_);
    // Checked before the pointer: after an error it may not point to a builder, and must then not be deleted.
    if (!log_.errors().empty() || created == nullptr) fail_to_start();
    builder_.reset(created);
    builder_->setGpuAllocator(&allocator_);
    for (const auto& path : plugins) {
      if (generation::load_plugins(*builder_, log_, path.c_str())) continue;
      log_.fail_with_errors(Kind::Unavailable, c10::str("the TensorRT plugin library ", path, " cannot be loaded"));
    }
  }

  void configure() {
    set_precision(precision_, *network_, *config_);
    drop_missing_tactics(*config_);
    // Makes the engine inspector's report worth reading; it costs an execution nothing.
    config_->setProfilingVerbosity(nvinfer1::ProfilingVerbosity::kDETAILED);
    if (options_.workspace_bytes > 0) {
      config_->setMemoryPoolLimit(nvinfer1::MemoryPoolType::kWORKSPACE, static_cast<size_t>(options_.workspace_bytes));
    }
    timing_cache_.attach(*config_, log_);
    generation::watch(*config_, monitor_);
  }

  void add_profiles() {
    const auto inputs = profiled_inputs(*network_);
    for (const auto& profile : plan_profiles(inputs, options_)) {
      auto* to = builder_->createOptimizationProfile();  // the builder owns it
      if (to == nullptr || !fill(*to, profile, inputs) || !to->isValid() || config_->addOptimizationProfile(to) < 0) {
        log_.fail_with_errors(Kind::InvalidInput, c10::str("TensorRT ", version_, " does not accept a profile"));
      }
    }
  }

  const std::string version_;
  const BuildOptions& options_;
  const Precision precision_;
  const MappedFile model_;
  const BuilderLibrary library_;
  BuildLog log_;
  Allocator allocator_;
  ProgressMonitor monitor_;
  std::unique_ptr<nvinfer1::IBuilder> builder_;
  std::unique_ptr<nvinfer1::INetworkDefinition> network_;
  std::unique_ptr<nvonnxparser::IParser> parser_;  // holds weights that the network uses until the plan is built
  TimingCache timing_cache_;
  std::unique_ptr<nvinfer1::IBuilderConfig> config_;
};

/// Writes the file, or leaves none.
void write(const nvinfer1::IHostMemory& plan, const std::string& path) {
  errno = 0;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(static_cast<const char*>(plan.data()), static_cast<std::streamsize>(plan.size()));
  file.close();
  if (file) return;
  const int reason = errno;
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  fail(reason == EFBIG ? Kind::TooLarge : Kind::Unavailable, "the plan of ", plan.size(), " bytes cannot be written",
       reason == 0 ? "" : c10::str(": ", std::strerror(reason)));
}

/// 0 or, where the builder does not report its progress, nothing.
std::optional<double> known(double fraction) {
  return generation::kTellsProgress ? std::optional(fraction) : std::nullopt;
}

}  // namespace

bool can_build(const BuildPlace& place) {
  try {
    const BuilderLibrary opened(place.library, place.libraries);
    return true;
  } catch (const Error& error) {
    log(Severity::Info, "tensorrt", error.what());
    return false;
  }
}

void check_build_options(const BuildOptions& options) {
  parse_precision(options.precision);
  if (options.workspace_bytes < 0) {
    fail(Kind::InvalidInput, "workspace_bytes is ", options.workspace_bytes,
         "; allowed are numbers of bytes, and 0 for TensorRT's default");
  }
  if (options.max_batch_size < 1) {
    fail(Kind::InvalidInput, "max_batch_size is ", options.max_batch_size, "; at least 1 is allowed");
  }
}

void build_plan(const BuildPlace& place, at::Device device, const std::string& model, const std::string& plan,
                const BuildOptions& options, BuildProgress& progress) {
  progress.report(known(0), "reading the model");
  PlanBuilder builder(place, device, model, options, progress);
  progress.report(known(0), "building the plan");
  const auto built = builder.build();
  progress.report(known(1), "writing the plan");
  write(*built, plan);
}

}  // namespace trtserve::tensorrt
