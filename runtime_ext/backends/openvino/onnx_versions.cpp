#include "backends/openvino/onnx_versions.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "backends/openvino/onnx_fields.h"
#include "backends/openvino/shown.h"
#include "core/error.h"
#include "core/protobuf.h"

namespace trtserve::openvino {

namespace {

/// The versions in ONNX 1.23, the newest release at the time of OpenVINO 2026.4:
/// https://github.com/onnx/onnx/blob/main/docs/Versioning.md. OpenVINO reads a newer file as if it were an older one,
/// and silently misreads what has changed since.
constexpr int64_t kNewestIrVersion = 14;
constexpr int64_t kFirstIrVersionWithOpsets = 3;
constexpr std::array<std::pair<std::string_view, int64_t>, 7> kNewestOpsets = {{
    {"", 28},
    {"ai.onnx.ml", 5},
    {"ai.onnx.preview", 1},
    {"ai.onnx.preview.training", 1},
    {"ai.onnx.training", 1},
    {"com.microsoft", 1},
    {"org.openvinotoolkit", 1},
}};
/// For domains of users' own functions. OpenVINO counts down from the version, one at a time.
constexpr int64_t kNewestOther = 1'000'000;

std::string shown_domain(const std::string& domain) { return domain.empty() ? "ai.onnx" : shown(domain); }

int64_t newest(const std::string& domain) {
  const auto* found =
      std::find_if(kNewestOpsets.begin(), kNewestOpsets.end(), [&](const auto& pair) { return pair.first == domain; });
  return found == kNewestOpsets.end() ? kNewestOther : found->second;
}

}  // namespace

int64_t check_ir_version(int64_t version) {
  if (version == 0)
    fail(Kind::InvalidInput, "the ONNX file does not say its IR version: it is cut off, or not an ONNX file");
  if (version < 0 || version > kNewestIrVersion) {
    fail(Kind::Unsupported, "the ONNX file has IR version ", version, ", but only versions 1 to ", kNewestIrVersion,
         " are supported: export it with ir_version=", kNewestIrVersion, " or an older one");
  }
  return version;
}

std::map<std::string, int64_t> read_opsets(const std::vector<std::string_view>& imports, int64_t ir_version) {
  std::map<std::string, int64_t> opsets;
  for (const auto import : imports) {
    std::string domain;
    int64_t version = 0;
    for (Fields fields(import); fields.next();) {
      if (fields.field().number == opset_field::kDomain) domain = fields.field().bytes;
      if (fields.field().number == opset_field::kVersion) version = static_cast<int64_t>(fields.field().value);
    }
    if (domain == "ai.onnx") domain.clear();
    if (version < 1 || version > newest(domain)) {
      fail(Kind::Unsupported, "the ONNX file asks for version ", version, " of the operators of ", shown_domain(domain),
           ", but only versions 1 to ", newest(domain),
           " are supported: export it with an opset_version in this range");
    }
    if (!opsets.emplace(domain, version).second) {
      fail(Kind::InvalidInput, "the ONNX file names two versions of the operators of ", shown_domain(domain),
           ": export it again");
    }
  }
  if (opsets.empty() && ir_version >= kFirstIrVersionWithOpsets) {
    fail(Kind::InvalidInput,
         "the ONNX file does not say which operators it uses (it has no opset_import): it is cut off. Fetch or export "
         "it again");
  }
  return opsets;
}

}  // namespace trtserve::openvino
