#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/openvino/guard.h"

namespace trtserve::openvino {

/// Whose values a check looks at, for its sentence.
struct Subject {
  std::string node;
  std::string operation;
  std::string tensor;
};

/// Numbers from `least` to `most`.
Check within(Subject subject, int64_t least, int64_t most);

/// Indices into dimension `axis` of data whose shape is the second tensor: from -size to size - 1.
Check indices_along(Subject subject, size_t axis);

/// A tensor of which the second one is the position in a sequence of this size: from -size to size - 1.
Check position_in(Subject subject, int64_t size);

/// Rows of indices into data whose shape is the second tensor, into its dimensions from `batch_dims` on.
Check index_rows(Subject subject, size_t batch_dims);

/// Numbers from `least` to `more` beyond the size of dimension `axis` of data whose shape is the second tensor.
Check up_to_size(Subject subject, int64_t least, size_t axis, int64_t more);

/// No number that is 0.
Check no_zero(Subject subject);

/// Start, stop and step of a range of `most_elements` at most.
Check range_length(Subject subject, size_t most_elements);

/// A tensor of the shape that is the second tensor, unless that begins with a negative number.
Check same_shape(Subject subject);

/// What a tensor tells of an input of an operation.
struct OperationInput {
  size_t port;
  bool is_value;  ///< the tensor is the input's values; else its shape
};

/// Values from which an operation makes an output that it can make, of `most_bytes` at most. The tensors are those of
/// `inputs`. The others of its inputs are as they are in `operation`, which is in no model.
Check output_size(Subject subject, std::shared_ptr<const ov::Node> operation, std::vector<OperationInput> inputs,
                  size_t most_bytes);

}  // namespace trtserve::openvino
