#pragma once

#include <memory>

#include <openvino/core/model.hpp>

namespace trtserve::openvino {

/// Splits each Tile with four or more dimensions whose repeats depend on the request into one Tile per two axes, in the
/// model and its nested models: OpenVINO 2026.4 leaves the output unwritten, or scrambles it, if more than two axes
/// after the first are repeated.
void split_tiles(const std::shared_ptr<ov::Model>& model);

}  // namespace trtserve::openvino
