#include "backends/openvino/scans.h"

#include <vector>

#include <openvino/op/constant.hpp>
#include <openvino/op/less.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/op/result.hpp>
#include <openvino/op/select.hpp>
#include <openvino/op/shape_of.hpp>

#include "backends/openvino/guarding.h"
#include "core/error.h"

namespace trtserve::openvino {

void guard_scan(const std::shared_ptr<ov::op::util::SubGraphOp>& loop, const Scan& scan) {
  using namespace ov::op;
  const auto& body = loop->get_function();
  const auto result = body->get_results().at(scan.m_body_value_index);
  const auto scanned = result->input_value(0);
  const auto rank = scanned.get_partial_shape().rank();
  Subject subject = {loop->get_friendly_name(), loop->get_type_name(), tensor_name(loop->output(scan.m_output_index))};
  if (rank.is_dynamic()) {
    fail(Kind::Unsupported, "node '", subject.node, "' (", subject.operation, ") joins its iterations' outputs into '",
         subject.tensor, "', whose number of dimensions is unknown: export the model with known ranks");
  }
  // The loop carries the first iteration's shape; before the first iteration it is negative.
  const ov::Shape dims{static_cast<size_t>(rank.get_length())};
  const auto unknown = v0::Constant::create(ov::element::i32, dims, std::vector<int32_t>(dims[0], -1));
  const auto zero = v0::Constant::create(ov::element::i32, {}, {0});
  const auto first = std::make_shared<v0::Parameter>(ov::element::i32, dims);
  const auto shape = std::make_shared<v3::ShapeOf>(scanned, ov::element::i32);
  const auto kept = std::make_shared<v1::Select>(std::make_shared<v1::Less>(first, zero), shape, first);
  body->add_parameters({first});
  body->add_results({std::make_shared<v0::Result>(kept)});
  loop->set_merged_input(first, unknown, kept);
  const auto guard = std::make_shared<Guard>(ov::OutputVector{scanned, first},
                                             std::make_shared<const Check>(same_shape(std::move(subject))));
  result->input(0).replace_source_output(guard->output(0));
}

}  // namespace trtserve::openvino
