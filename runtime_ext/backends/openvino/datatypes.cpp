#include "backends/openvino/datatypes.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.h"

namespace trtserve::openvino {

namespace {

const std::array<std::pair<ov::element::Type, c10::ScalarType>, 13> kTypes = {{
    {ov::element::boolean, c10::ScalarType::Bool},
    {ov::element::u8, c10::ScalarType::Byte},
    {ov::element::u16, c10::ScalarType::UInt16},
    {ov::element::u32, c10::ScalarType::UInt32},
    {ov::element::u64, c10::ScalarType::UInt64},
    {ov::element::i8, c10::ScalarType::Char},
    {ov::element::i16, c10::ScalarType::Short},
    {ov::element::i32, c10::ScalarType::Int},
    {ov::element::i64, c10::ScalarType::Long},
    {ov::element::f16, c10::ScalarType::Half},
    {ov::element::bf16, c10::ScalarType::BFloat16},
    {ov::element::f32, c10::ScalarType::Float},
    {ov::element::f64, c10::ScalarType::Double},
}};

}  // namespace

c10::ScalarType to_torch(const ov::element::Type& type, const std::string& tensor_name) {
  const auto* found = std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& pair) { return pair.first == type; });
  if (found == kTypes.end()) {
    fail(Kind::Unsupported, "tensor '", tensor_name, "' is of type ", type.get_type_name(),
         ", which no request can carry: export the model with a cast at that tensor");
  }
  return found->second;
}

ov::element::Type to_openvino(c10::ScalarType dtype) {
  const auto* found =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& pair) { return pair.second == dtype; });
  if (found == kTypes.end()) fail(Kind::Unsupported, "OpenVINO has no tensors of type ", c10::toString(dtype));
  return found->first;
}

}  // namespace trtserve::openvino
