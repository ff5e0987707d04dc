#pragma once

#include <map>
#include <memory>

#include <openvino/core/model.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/op/util/multi_subgraph_base.hpp>

namespace trtserve::openvino {

/// The place of an execution among the marks as a value: in a model, and in the loops and branches within it. The model
/// gets a hidden input for it, its last, once somebody asks; a body gets it handed on from the model around it. Not
/// thread safe.
class Places {
 public:
  explicit Places(const std::shared_ptr<ov::Model>& model);

  /// The place in the model, or in one of the bodies that it had at first.
  ov::Output<ov::Node> in(const std::shared_ptr<ov::Model>& model);

  /// Whether anything has asked for it.
  bool are_used() const { return !values_.empty(); }

 private:
  struct Within {
    std::shared_ptr<ov::op::util::MultiSubGraphOp> node;
    std::shared_ptr<ov::Model> model;
  };

  void note_bodies(const std::shared_ptr<ov::Model>& model);

  std::map<const ov::Model*, Within> around_;  // of each body
  std::map<const ov::Model*, std::shared_ptr<ov::op::v0::Parameter>> values_;
};

}  // namespace trtserve::openvino
