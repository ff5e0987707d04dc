#pragma once

#include <memory>

#include <openvino/core/model.hpp>

#include "backends/openvino/marks.h"
#include "backends/openvino/places.h"

namespace trtserve::openvino {

/// Makes every loop of the model and its nested models end: a negative trip count means no iterations, as in ONNX, and
/// a long loop checks before each iteration whether the execution should stop.
void add_loop_guards(const std::shared_ptr<ov::Model>& model, Places& places, const std::shared_ptr<Marks>& marks);

}  // namespace trtserve::openvino
