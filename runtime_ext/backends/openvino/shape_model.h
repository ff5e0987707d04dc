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

/// What a model does to the shapes of its inputs, without its weights: asked where the engine itself would not tell, or
/// not truly. Thread safe.
class ShapeModel {
 public:
  explicit ShapeModel(const std::shared_ptr<const ov::Model>& model);

  /// Why inputs of these shapes cannot be run, for a sentence that goes on after "because"; empty where they can.
  /// OpenVINO skips an operation that gets an empty tensor: where its output is not empty, nothing writes that output.
  std::string objection(const std::vector<ov::Shape>& shapes) const;

  /// The shapes of the outputs for these of the inputs; -1: not known, on either side. Nothing where OpenVINO cannot
  /// say.
  std::optional<BackendEngine::Shapes> output_shapes(const BackendEngine::Shapes& inputs) const;

  /// Whether requests may come with different shapes.
  bool is_dynamic() const { return dynamic_; }

 private:
  /// With mutex_ held. Throws where the model does not take these shapes.
  void reshape(const std::vector<ov::PartialShape>& inputs) const;
  std::string objection_of_nodes() const;

  mutable std::mutex mutex_;
  mutable std::set<std::vector<ov::Shape>> good_;  // guarded by mutex_: without objection, so many at most
  const bool dynamic_;
  const std::shared_ptr<ov::Model> model_;  // guarded by mutex_: each question shapes it anew
};

}  // namespace trtserve::openvino
