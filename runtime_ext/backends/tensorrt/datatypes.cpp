#include "backends/tensorrt/datatypes.h"

#include "core/error.h"

namespace trtserve::tensorrt {

namespace {

[[noreturn]] void refuse(const char* type, const std::string& tensor_name) {
  fail(Kind::Unsupported, "tensor '", tensor_name, "' is of type ", type,
       ", which no request can carry: build the plan with another type at its inputs and outputs");
}

}  // namespace

c10::ScalarType to_torch(nvinfer1::DataType type, const std::string& tensor_name) {
  switch (type) {
    case nvinfer1::DataType::kFLOAT:
      return c10::ScalarType::Float;
    case nvinfer1::DataType::kHALF:
      return c10::ScalarType::Half;
    case nvinfer1::DataType::kBF16:
      return c10::ScalarType::BFloat16;
    case nvinfer1::DataType::kINT8:
      return c10::ScalarType::Char;
    case nvinfer1::DataType::kUINT8:
      return c10::ScalarType::Byte;
    case nvinfer1::DataType::kINT32:
      return c10::ScalarType::Int;
    case nvinfer1::DataType::kINT64:
      return c10::ScalarType::Long;
    case nvinfer1::DataType::kBOOL:
      return c10::ScalarType::Bool;
    case nvinfer1::DataType::kFP8:
      refuse("FP8", tensor_name);
    case nvinfer1::DataType::kINT4:
      refuse("INT4", tensor_name);
    default:  // the types that later headers add
      refuse("another one than this server knows", tensor_name);
  }
}

}  // namespace trtserve::tensorrt
