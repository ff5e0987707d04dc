#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include <openvino/core/version.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/matmul.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/op/result.hpp>
#include <openvino/op/util/binary_elementwise_arithmetic.hpp>
#include <openvino/op/util/multi_subgraph_base.hpp>
#include <openvino/op/util/unary_elementwise_arithmetic.hpp>
#include <openvino/runtime/core.hpp>

#include "backends/openvino/compiled_file.h"
#include "backends/openvino/constants.h"
#include "backends/openvino/declared.h"
#include "backends/openvino/engine.h"
#include "backends/openvino/guard.h"
#include "backends/openvino/guards.h"
#include "backends/openvino/load_failure.h"
#include "backends/openvino/loops.h"
#include "backends/openvino/onnx_file.h"
#include "backends/openvino/onnx_frontend.h"
#include "backends/openvino/places.h"
#include "backends/openvino/stream_threads.h"
#include "backends/openvino/tensor_names.h"
#include "backends/openvino/tiles.h"
#include "backends/openvino/value_range.h"
#include "core/error.h"

namespace trtserve::openvino {

namespace {

/// The first bytes of the CPU plugin's exported blobs (seen in OpenVINO 2026.4: the tag "OVCPU_RR", stored in the
/// machine's byte order).
constexpr std::string_view kBlobMagic = "RR_UPCVO";

/// The first bytes of older blobs: six u64, the first being their own length.
constexpr std::string_view kOldBlobMagic("\x30\0\0\0\0\0\0\0", 8);

/// In bytes. A smaller model gets no streams, and so no threads of its own, unless its options say how many threads.
constexpr uintmax_t kSmallPlan = 32'768;

bool begins_with(std::ifstream& file, std::string_view magic) {
  std::string head(magic.size(), '\0');
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  const bool begins = file.gcount() == static_cast<std::streamsize>(head.size()) && head == magic;
  file.clear();
  file.seekg(0);
  return begins;
}

ov::element::Type precision(const LoadOptions& options) {
  if (options.precision == "f32") return ov::element::f32;
  if (options.precision == "f16") return ov::element::f16;
  if (options.precision == "bf16") return ov::element::bf16;
  fail(Kind::InvalidInput, "precision is '", options.precision, "'; allowed are f32, f16 and bf16");
}

/// The backend's settings, passed when it is opened.
struct BackendOptions {
  size_t max_tensor_bytes = size_t{256} << 20;  ///< for a tensor whose size depends on a request's values
  int shape_cache = 256;                        ///< shapes for which each operation caches its preparation
  bool allow_blobs = true;                      ///< run blobs, which are unguarded
};

BackendOptions read_options(const BackendConfig& config) {
  const auto number = [&](const char* name, long long unless_given) {
    const auto found = config.find(name);
    return found == config.end() || found->second.empty() ? unless_given : std::stoll(found->second);
  };
  BackendOptions options;
  options.max_tensor_bytes = static_cast<size_t>(number("max_tensor_bytes", 256LL << 20));
  options.shape_cache = static_cast<int>(number("shape_cache", 256));
  options.allow_blobs = number("allow_blobs", 1) != 0;
  return options;
}

int cores() { return static_cast<int>(std::max(1U, std::thread::hardware_concurrency())); }

/// Puts all guards into the model. Returns true if it now has a hidden input for an execution's place in the marks.
bool guarded(const std::shared_ptr<ov::Model>& model, size_t most_bytes, const std::shared_ptr<Marks>& marks) {
  Places places(model);
  add_guards(model, most_bytes, places, marks);
  add_loop_guards(model, places, marks);
  split_tiles(model);
  model->validate_nodes_and_infer_types();
  return places.are_used();
}

/// Reads the model, with the inputs and outputs that the file declares, unchecked.
std::shared_ptr<ov::Model> read_model(const std::string& plan_path, const OnnxFile& onnx) {
  auto model = with_empty_inputs(read_onnx(plan_path, onnx), onnx);
  fill_empty_outputs(model, onnx);
  return model;
}

ov::CompiledModel import_blob(ov::Core& core, const std::string& plan_path, const ov::AnyMap& properties) {
  std::ifstream file(plan_path, std::ios::binary);
  return core.import_model(file, "CPU", properties);
}

bool shapes_vary(const ov::Model& model) {
  for (const auto& node : model.get_ops()) {
    for (const auto& output : node->outputs()) {
      if (output.get_partial_shape().is_dynamic()) return true;
    }
    const auto parent = ov::as_type_ptr<ov::op::util::MultiSubGraphOp>(node);
    if (!parent) continue;
    for (const auto& body : parent->get_functions()) {
      if (shapes_vary(*body)) return true;
    }
  }
  return false;
}

/// True if infer() throws. With a single thread, OpenVINO 2026.4 defers the work of infer() and drops its exceptions:
/// the outputs would be unwritten memory, and the next infer() would find the remains of the failed one.
bool infer_throws(const ov::CompiledModel& model) {
  return std::thread::hardware_concurrency() > 1 && model.get_property(ov::inference_num_threads) > 1 &&
         model.get_property(ov::num_streams).num > 0;
}

/// True if no request can make an execution fail: for shapes that ShapeModel has tried, arithmetic never fails on
/// values.
bool cannot_fail(const ov::Model& model) {
  const auto nodes = model.get_ops();
  return std::all_of(nodes.begin(), nodes.end(), [](const auto& node) {
    return ov::is_type<ov::op::v0::Parameter>(node) || ov::is_type<ov::op::v0::Constant>(node) ||
           ov::is_type<ov::op::v0::Result>(node) || ov::is_type<ov::op::v0::MatMul>(node) ||
           ov::is_type<ov::op::util::UnaryElementwiseArithmetic>(node) ||
           (ov::is_type<ov::op::util::BinaryElementwiseArithmetic>(node) && node->get_output_element_type(0).is_real());
  });
}

/// Limits the instances so that no two share a graph; a model has one graph per stream. An execution that is broken off
/// leaves its graph damaged, and its thread reports this only after another execution may have begun there. Without
/// streams there is one graph, and Compilation keeps the executions apart.
int separate_instances(int instances, const ov::CompiledModel& model, bool infer_throws) {
  const auto streams = static_cast<int>(model.get_property(ov::num_streams).num);
  if (streams == 0) return instances;
  return std::min(instances, infer_throws ? streams : 1);
}

/// True for a file so small that its model gains nothing from streams, unless its weights are made by operations.
bool is_small(const std::string& plan_path) {
  std::error_code unknown;
  return std::filesystem::file_size(plan_path, unknown) < kSmallPlan;  // with an error: the largest number
}

class OpenVinoBackend final : public Backend {
 public:
  explicit OpenVinoBackend(BackendOptions options) : options_(options) {}

  std::string version() const override { return ov::get_openvino_version().buildNumber; }

  std::vector<std::string> devices(const std::string& option) override {
    if (option != "auto" && option != "cpu" && option != "all") {
      fail(Kind::Unsupported, "device is '", option, "'; the openvino backend runs on cpu");
    }
    return {"cpu"};
  }

  std::unique_ptr<BackendEngine> load(const std::string& plan_path, const LoadOptions& options) override {
    const int threads = options.threads > 0 ? options.threads : cores();
    // Two, so that one computes while the other's answer is collected.
    const int instances = options.instances > 0 ? options.instances : std::min(2, threads);
    const int streams = std::min(instances, threads);
    auto stream_threads = options.threads == 0 && is_small(plan_path) ? nullptr : stream_threads_.take(streams);
    const ov::AnyMap properties = {
        ov::hint::inference_precision(precision(options)),
        // The streams share the threads, so that all instances together never use more than `threads`. Without streams,
        // executions run one at a time, each on all free cores.
        ov::num_streams(ov::streams::Num(stream_threads ? streams : 0)),
        ov::inference_num_threads(threads),
        // Engines pinned to the same cores would wait for each other while other cores are idle.
        ov::hint::enable_cpu_pinning(false),
        {"CPU_RUNTIME_CACHE_CAPACITY", options_.shape_cache},
    };
    try {
      return stand_up(plan_path, options.compiled, properties, instances, std::move(stream_threads));
    } catch (const ov::Exception& error) {
      if (auto refused = refusal(error)) throw Error(*refused);
      fail_load(error);
    }
  }

 private:
  std::unique_ptr<OpenVinoEngine> stand_up(const std::string& plan_path, const std::string& compiled_path,
                                           const ov::AnyMap& properties, int instances,
                                           std::shared_ptr<const int> stream_threads) {
    std::ifstream file(plan_path, std::ios::binary);
    if (!file) fail(Kind::Unavailable, "the plan file cannot be read");
    if (begins_with(file, kBlobMagic)) {
      return stand_up_blob(plan_path, properties, instances, std::move(stream_threads));
    }
    if (begins_with(file, kOldBlobMagic)) {
      fail(Kind::Unsupported, "the plan is a blob from an older OpenVINO: export it again with version ", version());
    }
    return stand_up_onnx(plan_path, compiled_path, properties, instances, std::move(stream_threads));
  }

  std::unique_ptr<OpenVinoEngine> stand_up_blob(const std::string& plan_path, const ov::AnyMap& properties,
                                                int instances, std::shared_ptr<const int> stream_threads) {
    if (!options_.allow_blobs) {
      fail(Kind::Unsupported,
           "the plan is an OpenVINO blob, which cannot be guarded against the values of requests: upload the ONNX "
           "file, or have the operator turn on allow_blobs");
    }
    const auto blob = import_blob(core_, plan_path, properties);
    Safety safety;
    safety.again = [core = core_, plan_path, properties]() mutable { return import_blob(core, plan_path, properties); };
    safety.infer_throws = infer_throws(blob);
    instances = separate_instances(instances, blob, safety.infer_throws);
    return std::make_unique<OpenVinoEngine>(blob, names_of(blob), std::vector<ov::element::Type>(), std::move(safety),
                                            instances, std::move(stream_threads));
  }

  std::unique_ptr<OpenVinoEngine> stand_up_onnx(const std::string& plan_path, const std::string& compiled_path,
                                                const ov::AnyMap& properties, int instances,
                                                std::shared_ptr<const int> stream_threads) {
    const OnnxFile onnx = read_onnx_file(plan_path);
    const auto model = read_model(plan_path, onnx);
    check_declared(*model, onnx);
    check_constants(*model);
    const auto cast = cast_first(*model);
    Safety safety;
    safety.shapes = std::make_shared<const ShapeModel>(model);
    const auto marks = std::make_shared<Marks>();
    safety.narrowed = narrow_outputs(model);
    if (guarded(model, options_.max_tensor_bytes, marks)) safety.marks = marks;
    if (shapes_vary(*model)) safety.again = compile_again(plan_path, properties, marks);
    Kept kept;
    if (can_be_kept(*model)) kept.key = compiled_key(core_, properties);
    const auto compiled = compile(model, compiled_path, properties, kept);
    const bool fails = !cannot_fail(*model);
    safety.infer_throws = infer_throws(compiled) || !fails;
    safety.steady = !fails;
    if (safety.again && fails) instances = separate_instances(instances, compiled, safety.infer_throws);
    return std::make_unique<OpenVinoEngine>(compiled, names_of(onnx), cast, std::move(safety), instances,
                                            std::move(stream_threads), std::move(kept));
  }

  /// The compiled model from the file, if it can be kept and is there; otherwise compiled now.
  ov::CompiledModel compile(const std::shared_ptr<ov::Model>& model, const std::string& compiled_path,
                            const ov::AnyMap& properties, Kept& kept) {
    if (!kept.key.empty() && !compiled_path.empty()) {
      if (auto found = read_compiled(compiled_path, kept.key, core_, properties)) {
        kept.imported = true;
        return *found;
      }
    }
    return core_.compile_model(model, "CPU", properties);
  }

  /// Compiles from the plan's file: keeping the model for this would keep its weights in memory.
  std::function<ov::CompiledModel()> compile_again(const std::string& plan_path, const ov::AnyMap& properties,
                                                   const std::shared_ptr<Marks>& marks) {
    return [core = core_, plan_path, properties, marks, most_bytes = options_.max_tensor_bytes]() mutable {
      const auto model = read_model(plan_path, read_onnx_file(plan_path));
      narrow_outputs(model);
      guarded(model, most_bytes, marks);
      return core.compile_model(model, "CPU", properties);
    };
  }

  const BackendOptions options_;
  StreamThreads stream_threads_{std::max(64, 4 * cores())};
  ov::Core core_;
};

}  // namespace

}  // namespace trtserve::openvino

int trtserve_backend_abi() { return trtserve::kBackendAbi; }
trtserve::Backend* trtserve_backend_create(const trtserve::BackendConfig& config) {
  using trtserve::openvino::OpenVinoBackend;
  return std::make_unique<OpenVinoBackend>(trtserve::openvino::read_options(config)).release();
}
