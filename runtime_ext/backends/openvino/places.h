#pragma once

#include <map>
#include <memory>

#include <openvino/core/model.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/op/util/multi_subgraph_base.hpp>

namespace trtserve::openvino {

/// Provides an execution's place in the marks as a value in a model and in its nested loops and branches. The model
/// gets a hidden last input for it on first use; a body gets it passed in from the model around it. Not thread safe.
class Places {
 public:
  explicit Places(const std::shared_ptr<ov::Model>& model);

  /// The place as a value in the model, or in one of its original bodies.
  ov::Output<ov::Node> in(const std::shared_ptr<ov::Model>& model);

  /// True if any place has been requested.
  bool are_used() const { return !values_.empty(); }

 private:
  struct Within {
    std::shared_ptr<ov::op::util::MultiSubGraphOp> node;
    std::shared_ptr<ov::Model> model;
  };

  void note_bodies(const std::shared_ptr<ov::Model>& model);

  std::map<const ov::Model*, Within> around_;  // by body
  std::map<const ov::Model*, std::shared_ptr<ov::op::v0::Parameter>> values_;
};

}  // namespace trtserve::openvino
