#pragma once

#include <memory>

#include <openvino/core/model.hpp>
#include <openvino/op/parameter.hpp>

#include "backends/openvino/marks.h"

namespace trtserve::openvino {

/// Makes every loop of the model end: no iterations where the trip count is negative, as ONNX has it, and before each
/// iteration a look at whether the execution is to stop. `place` is the model's hidden input for the execution's place;
/// null: none yet. Returns it, or the new one where something loops as long as a request likes.
std::shared_ptr<ov::op::v0::Parameter> add_loop_guards(const std::shared_ptr<ov::Model>& model,
                                                       std::shared_ptr<ov::op::v0::Parameter> place,
                                                       const std::shared_ptr<Marks>& marks);

/// Gives the model one more input, the last, for an execution's place among the marks.
std::shared_ptr<ov::op::v0::Parameter> add_place(const std::shared_ptr<ov::Model>& model);

}  // namespace trtserve::openvino
