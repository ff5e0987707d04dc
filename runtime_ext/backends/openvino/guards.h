#pragma once

#include <memory>

#include <openvino/core/model.hpp>

#include "backends/openvino/marks.h"
#include "backends/openvino/places.h"

namespace trtserve::openvino {

/// Puts a guard before every operation of the model, and of the models within it, that would trust values which are
/// known only when a request comes: indices, lengths, divisors, and the sizes of what it makes. A tensor whose size
/// such values choose may have `most_bytes`. The guards tell the marks what they refuse, by the execution's place.
void add_guards(const std::shared_ptr<ov::Model>& model, size_t most_bytes, Places& places,
                const std::shared_ptr<Marks>& marks);

}  // namespace trtserve::openvino
