#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/openvino/guard.h"

namespace trtserve::openvino {

/// The tensor and node that a check's sentence names.
struct Subject {
  std::string node;
  std::string operation;
  std::string tensor;
};

/// Numbers from `least` to `most`.
Check within(Subject subject, int64_t least, int64_t most);

/// Indices into dimension `axis` of data whose shape is the second tensor: from -size to size - 1.
Check indices_along(Subject subject, size_t axis);

/// Positions, in the second tensor, in a sequence of this size: from -size to size - 1.
Check position_in(Subject subject, int64_t size);

/// Rows of indices into data whose shape is the second tensor, into its dimensions from `batch_dims` on.
Check index_rows(Subject subject, size_t batch_dims);

/// Numbers from `least` to `more` above the size of dimension `axis` of data whose shape is the second tensor.
Check up_to_size(Subject subject, int64_t least, size_t axis, int64_t more);

/// Numbers other than 0.
Check no_zero(Subject subject);

/// The start, stop and step of a range of at most `most_elements`.
Check range_length(Subject subject, size_t most_elements);

/// A tensor whose shape equals the second tensor, unless that begins with a negative number.
Check same_shape(Subject subject);

/// How a tensor describes an input of an operation.
struct OperationInput {
  size_t port;
  bool is_value;  ///< the tensor holds the input's values; otherwise its shape
};

/// Values for which the operation can make an output, of at most `most_bytes`. The tensors are those of `inputs`. Its
/// other inputs are taken from `operation`, which belongs to no model.
Check output_size(Subject subject, std::shared_ptr<const ov::Node> operation, std::vector<OperationInput> inputs,
                  size_t most_bytes);

}  // namespace trtserve::openvino
