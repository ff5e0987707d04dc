#pragma once

#include <memory>
#include <string>
#include <utility>

#include <openvino/core/model.hpp>

#include "backends/openvino/checks.h"
#include "backends/openvino/guard.h"
#include "backends/openvino/places.h"

namespace trtserve::openvino {

using NodePtr = std::shared_ptr<ov::Node>;
using Port = ov::Output<ov::Node>;

bool is_constant(const Port& port);

/// The shape of a tensor as a tensor.
Port shape_of(const Port& port);

/// The file's name for the tensor, or for the one from which it was converted.
std::string tensor_name(Port port);

/// Names an input of a node for errors.
Subject subject_of(const NodePtr& node, size_t port);

/// The axis, counted from the first dimension of the data at this port. Unsupported if the rank is unknown.
size_t along(const NodePtr& node, size_t data_port, int64_t axis);

/// Puts guards into one model, or into one of its nested bodies. The guards record their refusals in the marks; a fault
/// that is known at load time ends the load. Not thread safe.
class Guarding {
 public:
  /// `places` outlives this.
  Guarding(std::shared_ptr<ov::Model> model, Places& places, std::shared_ptr<Marks> marks)
      : model_(std::move(model)), places_(places), marks_(std::move(marks)) {}

  /// Puts a guard before an input of the node. The check gets the input and `others`; the node gets `harmless` numbers
  /// instead of refused ones.
  void put(const NodePtr& node, size_t port, const ov::OutputVector& others, Check check, int harmless) const;

  /// Puts a guard before another input of a node that has a guard at `first`: it refuses when that one does.
  void put_with(const NodePtr& node, size_t port, size_t first, int harmless) const;

  /// Returns a Guarding for a body nested in this model.
  Guarding within(const std::shared_ptr<ov::Model>& body) const { return {body, places_, marks_}; }

  const std::shared_ptr<ov::Model>& model() const { return model_; }

 private:
  const std::shared_ptr<ov::Model> model_;
  Places& places_;
  const std::shared_ptr<Marks> marks_;
};

}  // namespace trtserve::openvino
