#pragma once

#include <memory>

#include <openvino/core/model.hpp>

#include "backends/openvino/marks.h"
#include "backends/openvino/places.h"

namespace trtserve::openvino {

/// Puts a guard before every operation of the model and its nested models that trusts values which only the request
/// determines: indices, lengths, divisors and output sizes. A tensor whose size depends on such values may have at most
/// `most_bytes`. The guards record refusals in the marks, by the execution's place.
void add_guards(const std::shared_ptr<ov::Model>& model, size_t most_bytes, Places& places,
                const std::shared_ptr<Marks>& marks);

}  // namespace trtserve::openvino
