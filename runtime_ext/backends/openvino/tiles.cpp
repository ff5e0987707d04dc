#include "backends/openvino/tiles.h"

#include <algorithm>
#include <vector>

#include <openvino/op/constant.hpp>
#include <openvino/op/select.hpp>
#include <openvino/op/tile.hpp>
#include <openvino/op/util/multi_subgraph_base.hpp>

#include "core/error.h"

namespace trtserve::openvino {

namespace {

using ov::op::v0::Constant;
using ov::op::v0::Tile;

constexpr size_t kAxesAtOnce = 2;
constexpr int64_t kRightUpTo = 3;  // dimensions

void split(const std::shared_ptr<Tile>& tile) {
  const auto repeats = tile->input_value(1);
  if (ov::is_type<Constant>(repeats.get_node())) return;
  const auto rank = tile->get_output_partial_shape(0).rank();
  if (rank.is_static() && rank.get_length() <= kRightUpTo) return;
  if (repeats.get_partial_shape().is_dynamic()) {
    fail(Kind::Unsupported, "node '", tile->get_friendly_name(), "' (Tile) makes a tensor of an unknown number of ",
         "dimensions: export the model with known ranks");
  }
  const auto& type = repeats.get_element_type();
  const auto& shape = repeats.get_shape();
  const auto one = Constant::create(type, {}, {1});
  auto value = tile->input_value(0);
  for (size_t axis = 0; axis < shape.at(0); axis += kAxesAtOnce) {
    std::vector<char> chosen(shape[0], 0);
    for (size_t i = axis; i < std::min(axis + kAxesAtOnce, shape[0]); ++i) chosen[i] = 1;
    const auto mask = Constant::create(ov::element::boolean, shape, chosen);
    value = std::make_shared<Tile>(value, std::make_shared<ov::op::v1::Select>(mask, repeats, one));
  }
  value.get_node()->set_friendly_name(tile->get_friendly_name());
  tile->output(0).replace(value);
}

}  // namespace

void split_tiles(const std::shared_ptr<ov::Model>& model) {
  for (const auto& node : model->get_ordered_ops()) {
    if (const auto tile = ov::as_type_ptr<Tile>(node)) split(tile);
    const auto parent = ov::as_type_ptr<ov::op::util::MultiSubGraphOp>(node);
    if (!parent) continue;
    for (const auto& body : parent->get_functions()) split_tiles(body);
  }
}

}  // namespace trtserve::openvino
