#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <openvino/core/model.hpp>

namespace trtserve::openvino {

/// What a model does to the shapes of its inputs, without its weights: asked where the engine itself would not tell, or
/// not truly. Thread safe.
class ShapeModel {
 public:
  explicit ShapeModel(const std::shared_ptr<const ov::Model>& model);

  /// Why inputs of these shapes cannot be run, for a sentence that goes on after "because"; empty where they can.
  /// OpenVINO skips an operation that gets an empty tensor: where its output is not empty, nothing writes that output.
  std::string objection(const std::vector<ov::Shape>& shapes) const;

 private:
  std::string objection_of_nodes() const;

  mutable std::mutex mutex_;
  const std::shared_ptr<ov::Model> model_;  // guarded by mutex_: each question shapes it anew
};

}  // namespace trtserve::openvino
