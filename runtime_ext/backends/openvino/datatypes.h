#pragma once

#include <c10/core/ScalarType.h>
#include <openvino/core/type/element_type.hpp>

namespace trtserve::openvino {

/// Throws Unsupported, naming the tensor, for a type that no request can carry.
c10::ScalarType to_torch(const ov::element::Type& type, const std::string& tensor_name);

ov::element::Type to_openvino(c10::ScalarType dtype);

}  // namespace trtserve::openvino
