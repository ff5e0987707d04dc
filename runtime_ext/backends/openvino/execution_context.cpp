#include "backends/openvino/execution_context.h"

#include <ATen/Functions.h>
#include <openvino/core/except.hpp>

#include "backends/openvino/datatypes.h"
#include "backends/openvino/reason.h"
#include "core/error.h"

namespace trtserve::openvino {

namespace {

ov::Tensor view(const at::Tensor& tensor) {
  const auto sizes = tensor.sizes();
  const ov::Shape shape(sizes.begin(), sizes.end());
  const auto type = to_openvino(tensor.scalar_type());
  // OpenVINO takes no null address, not even for nothing.
  if (tensor.numel() == 0) return {type, shape};
  return {type, shape, tensor.data_ptr()};
}

/// Memory for one execution's output. A dynamic dimension starts at 0: the engine grows the tensor.
ov::Tensor new_output(const TensorSpec& spec) {
  ov::Shape shape;
  for (const int64_t dim : spec.shape.value_or(std::vector<int64_t>{-1}))
    shape.push_back(dim < 0 ? 0 : static_cast<size_t>(dim));
  return {to_openvino(spec.dtype), shape};
}

/// A tensor over the memory of `output`, which it keeps.
at::Tensor wrap(ov::Tensor output, c10::ScalarType dtype) {
  const auto& shape = output.get_shape();
  const std::vector<int64_t> sizes(shape.begin(), shape.end());
  const auto options = at::TensorOptions().dtype(dtype);
  if (output.get_size() == 0) return at::empty(sizes, options);
  return at::from_blob(output.data(), sizes, [output](void*) {}, options);
}

}  // namespace

OpenVinoContext::OpenVinoContext(ov::InferRequest request, const std::vector<TensorSpec>& outputs)
    : request_(std::move(request)), outputs_(outputs) {}

std::vector<at::Tensor> OpenVinoContext::execute(c10::ArrayRef<at::Tensor> inputs) {
  try {
    for (size_t i = 0; i < inputs.size(); ++i) request_.set_input_tensor(i, view(inputs[i]));
    for (size_t i = 0; i < outputs_.size(); ++i) request_.set_output_tensor(i, new_output(outputs_[i]));
    request_.infer();
    std::vector<at::Tensor> outputs;
    outputs.reserve(outputs_.size());
    for (size_t i = 0; i < outputs_.size(); ++i) {
      outputs.push_back(wrap(request_.get_output_tensor(i), outputs_[i].dtype));
    }
    return outputs;
  } catch (const ov::Exception& error) {
    fail(Kind::ExecutionFailed, "OpenVINO could not run the engine: ", reason(error));
  }
}

}  // namespace trtserve::openvino
