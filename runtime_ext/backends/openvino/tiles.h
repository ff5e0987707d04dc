#pragma once

#include <memory>

#include <openvino/core/model.hpp>

namespace trtserve::openvino {

/// Makes each Tile whose repeats are known only when a request comes, and which has four dimensions or more, one for
/// every two of its axes, in the model and in the models within it: OpenVINO 2026.4 leaves its output unwritten, or
/// mixes it up, where more than two axes after the first are repeated.
void split_tiles(const std::shared_ptr<ov::Model>& model);

}  // namespace trtserve::openvino
