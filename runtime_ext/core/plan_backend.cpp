// The layouts of plans are those of the service's trtserve.formats, which knows more files and says more about them.

#include "core/plan_backend.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <optional>

#include "core/error.h"

namespace trtserve {

namespace {

constexpr std::string_view kTensorRt = "tensorrt";
constexpr std::string_view kOpenVino = "openvino";

constexpr size_t kNewVersionAt = 24;  // of a plan of TensorRT 8.6 or later: a byte for the major version
constexpr size_t kOldVersionAt = 28;  // of an earlier one: after a tag of four bytes

/// The plan itself: Ultralytics writes a u32 length and that many bytes of JSON before it.
std::string_view without_metadata(std::string_view head) {
  uint32_t length = 0;
  if (head.size() < sizeof(length) + 1 || head[sizeof(length)] != '{') return head;
  std::memcpy(&length, head.data(), sizeof(length));
  return length < head.size() - sizeof(length) ? head.substr(sizeof(length) + length) : head;
}

/// The major version of the TensorRT that built the plan; nothing if this is not its plan.
std::optional<int> tensorrt_major(std::string_view plan) {
  const bool old = plan.starts_with("ptrt");
  if (!old && !plan.starts_with("ftrt")) return std::nullopt;
  const size_t at = old ? kOldVersionAt : kNewVersionAt;
  if (plan.size() <= at) fail(Kind::InvalidInput, "the plan is a TensorRT plan that is cut off: fetch it again");
  return static_cast<unsigned char>(plan[at]);
}

/// The major version in a backend's name, such as tensorrt11.
int major_of(std::string_view backend) {
  int major = 0;
  const auto digits = backend.substr(kTensorRt.size());
  std::from_chars(digits.data(), digits.data() + digits.size(), major);
  return major;
}

/// The backend of that major version, or the next one, which reads plans that were built version-compatible.
std::string tensorrt_backend(int major, const std::vector<std::string>& backends) {
  std::string best;
  for (const auto& name : backends) {
    if (!name.starts_with(kTensorRt) || major_of(name) < major) continue;
    if (best.empty() || major_of(name) < major_of(best)) best = name;
  }
  if (best.empty()) {
    fail(Kind::Unsupported, "the plan was built by TensorRT ", major, ", and no backend here reads it: install ",
         "TensorRT ", major, " and build trtserve with its headers, or build the plan with another version");
  }
  return best;
}

bool is_openvino_plan(std::string_view head) {
  constexpr char kOnnxIrVersion = 0x08;  // the first field of ONNX's ModelProto
  constexpr std::string_view kBlob = "RR_UPCVO";
  constexpr std::string_view kOldBlob("\x30\0\0\0\0\0\0\0", 8);
  return head.starts_with(kOnnxIrVersion) || head.starts_with(kBlob) || head.starts_with(kOldBlob);
}

}  // namespace

std::string backend_for(std::string_view head, const std::vector<std::string>& backends) {
  if (head.empty()) fail(Kind::InvalidInput, "the plan is empty");
  if (const auto major = tensorrt_major(without_metadata(head))) return tensorrt_backend(*major, backends);
  if (head.starts_with("PK")) {
    fail(Kind::InvalidInput, "the file is a zip, such as a TorchScript archive, and not a plan: load it with ",
         "torch.jit.load");
  }
  if (!is_openvino_plan(head)) {
    fail(Kind::InvalidInput, "the file is not a plan that is known here: plans are TensorRT engines, ONNX models and ",
         "blobs exported by OpenVINO; if it is one all the same, say which with `backend`");
  }
  if (std::find(backends.begin(), backends.end(), kOpenVino) == backends.end()) {
    fail(Kind::Unsupported, "the plan is for OpenVINO, which is not installed: pip install openvino");
  }
  return std::string(kOpenVino);
}

}  // namespace trtserve
