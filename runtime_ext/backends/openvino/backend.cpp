#include <algorithm>
#include <fstream>
#include <thread>

#include <openvino/core/version.hpp>
#include <openvino/runtime/core.hpp>

#include "backends/openvino/engine.h"
#include "backends/openvino/load_failure.h"
#include "backends/openvino/onnx_file.h"
#include "backends/openvino/onnx_frontend.h"
#include "backends/openvino/stream_threads.h"
#include "core/error.h"

namespace trtserve::openvino {

namespace {

/// How the CPU plugin's exported blobs begin (seen in OpenVINO 2026.4: the tag "OVCPU_RR", stored in the
/// machine's byte order).
constexpr std::string_view kBlobMagic = "RR_UPCVO";

/// How they began before: six u64, of which the first is their own length.
constexpr std::string_view kOldBlobMagic("\x30\0\0\0\0\0\0\0", 8);

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

int cores() { return static_cast<int>(std::max(1U, std::thread::hardware_concurrency())); }

void check_device(const LoadOptions& options) {
  if (options.device != "auto" && options.device != "cpu") {
    fail(Kind::Unsupported, "device is '", options.device, "'; the openvino backend runs on cpu");
  }
}

class OpenVinoBackend final : public Backend {
 public:
  std::string version() const override { return ov::get_openvino_version().buildNumber; }

  std::unique_ptr<BackendEngine> load(const std::string& plan_path, const LoadOptions& options) override {
    check_device(options);
    const int threads = options.threads > 0 ? options.threads : cores();
    // Two, so that one computes while the other's answer is taken away.
    const int instances = options.instances > 0 ? options.instances : std::min(2, threads);
    const int streams = std::min(instances, threads);
    auto stream_threads = stream_threads_.take(streams);
    const ov::AnyMap properties = {
        ov::hint::inference_precision(precision(options)),
        // The streams share the threads, so that all instances together never want more than there are. Without a
        // stream, executions run one at a time, each on as many cores as are free.
        ov::num_streams(ov::streams::Num(stream_threads ? streams : 0)),
        ov::inference_num_threads(threads),
        // Several engines pinned to the same cores would wait for each other while other cores idle.
        ov::hint::enable_cpu_pinning(false),
    };
    try {
      return std::make_unique<OpenVinoEngine>(compile(plan_path, properties), instances, std::move(stream_threads));
    } catch (const ov::Exception& error) {
      fail_load(error);
    }
  }

 private:
  ov::CompiledModel compile(const std::string& plan_path, const ov::AnyMap& properties) {
    std::ifstream file(plan_path, std::ios::binary);
    if (!file) fail(Kind::Unavailable, "the plan file cannot be read");
    if (begins_with(file, kBlobMagic)) return core_.import_model(file, "CPU", properties);
    if (begins_with(file, kOldBlobMagic)) {
      fail(Kind::Unsupported, "the plan is a blob of an older OpenVINO: export it again with version ", version());
    }
    const OnnxFile onnx = read_onnx_file(plan_path);
    return core_.compile_model(read_onnx(plan_path, onnx), "CPU", properties);
  }

  StreamThreads stream_threads_{std::max(64, 4 * cores())};
  ov::Core core_;
};

}  // namespace

}  // namespace trtserve::openvino

int trtserve_backend_abi() { return trtserve::kBackendAbi; }
trtserve::Backend* trtserve_backend_create(const trtserve::BackendConfig& /*config*/) {
  return std::make_unique<trtserve::openvino::OpenVinoBackend>().release();
}
