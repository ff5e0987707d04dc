#pragma once

#include <memory>

#include <openvino/core/model.hpp>
#include <openvino/op/parameter.hpp>

#include "backends/openvino/marks.h"

namespace trtserve::openvino {

/// Puts a guard before every operation of the model, and of the models within it, that would trust values which are
/// known only when a request comes: indices, lengths, divisors, and the sizes of what it makes. A tensor whose size
/// such values choose may have `most_bytes`. Returns the hidden input, the model's last, for an execution's place among
/// the marks, in which index guards tell of what they refuse; null where there is none.
std::shared_ptr<ov::op::v0::Parameter> add_guards(const std::shared_ptr<ov::Model>& model, size_t most_bytes,
                                                  const std::shared_ptr<Marks>& marks);

}  // namespace trtserve::openvino
