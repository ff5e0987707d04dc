#pragma once

#include <memory>

#include <openvino/core/model.hpp>

#include "backends/openvino/marks.h"
#include "backends/openvino/places.h"

namespace trtserve::openvino {

/// Makes every loop of the model, and of the models within it, end: no iterations where the trip count is negative, as
/// ONNX has it, and before each iteration of a long one a look at whether the execution is to stop.
void add_loop_guards(const std::shared_ptr<ov::Model>& model, Places& places, const std::shared_ptr<Marks>& marks);

}  // namespace trtserve::openvino
