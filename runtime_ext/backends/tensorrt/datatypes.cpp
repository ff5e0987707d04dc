#include "backends/tensorrt/datatypes.h"

#include "backends/tensorrt/generation.h"
#include "core/error.h"

namespace trtserve::tensorrt {

namespace {

[[noreturn]] void refuse(const char* type, const std::string& tensor_name) {
  fail(Kind::Unsupported, "tensor '", tensor_name, "' is of type ", type,
       ", which no request can carry: build the plan with another type at its inputs and outputs");
}

}  // namespace

c10::ScalarType to_torch(nvinfer1::DataType type, const std::string& tensor_name) {
  using nvinfer1::DataType;
  switch (static_cast<int32_t>(type)) {
    case static_cast<int32_t>(DataType::kFLOAT):
      return c10::ScalarType::Float;
    case static_cast<int32_t>(DataType::kHALF):
      return c10::ScalarType::Half;
    case generation::kBf16:
      return c10::ScalarType::BFloat16;
    case static_cast<int32_t>(DataType::kINT8):
      return c10::ScalarType::Char;
    case static_cast<int32_t>(DataType::kUINT8):
      return c10::ScalarType::Byte;
    case static_cast<int32_t>(DataType::kINT32):
      return c10::ScalarType::Int;
    case generation::kInt64:
      return c10::ScalarType::Long;
    case static_cast<int32_t>(DataType::kBOOL):
      return c10::ScalarType::Bool;
    case generation::kFp8:
      refuse("FP8", tensor_name);
    case generation::kInt4:
      refuse("INT4", tensor_name);
    default:  // types from later headers
      refuse("unknown to this server", tensor_name);
  }
}

}  // namespace trtserve::tensorrt
