#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <openvino/core/model.hpp>

#include "core/backend.h"

namespace trtserve::openvino {

/// Computes output shapes from input shapes with a copy of the model without weights, where the engine itself cannot or
/// gives wrong results. Thread safe.
class ShapeModel {
 public:
  explicit ShapeModel(const std::shared_ptr<const ov::Model>& model);

  /// Why inputs of these shapes cannot be run, to follow "because" in a sentence; empty if they can. OpenVINO skips an
  /// operation with an empty input: if its output is not empty, that output stays unwritten.
  std::string objection(const std::vector<ov::Shape>& shapes) const;

  /// The output shapes for these input shapes; -1: unknown, in both. Nothing if OpenVINO cannot compute them.
  std::optional<BackendEngine::Shapes> output_shapes(const BackendEngine::Shapes& inputs) const;

  /// True if requests may have different shapes.
  bool is_dynamic() const { return dynamic_; }

 private:
  /// Call with mutex_ held. Throws if the model does not accept these shapes.
  void reshape(const std::vector<ov::PartialShape>& inputs) const;
  std::string objection_of_nodes() const;

  mutable std::mutex mutex_;
  mutable std::set<std::vector<ov::Shape>> good_;  // guarded by mutex_: shapes without objection, bounded in number
  const bool dynamic_;
  const std::shared_ptr<ov::Model> model_;  // guarded by mutex_: each call reshapes it
};

}  // namespace trtserve::openvino
