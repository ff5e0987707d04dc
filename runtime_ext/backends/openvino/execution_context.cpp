#include "backends/openvino/execution_context.h"

#include <algorithm>
#include <cstring>

#include <ATen/EmptyTensor.h>
#include <ATen/Functions.h>

#include "backends/openvino/datatypes.h"
#include "backends/openvino/failure.h"
#include "backends/openvino/value_range.h"
#include "core/error.h"

namespace trtserve::openvino {

namespace {

/// How often an execution is tried when others break off in the same graph.
constexpr int kAttempts = 16;

/// Up to this size, copying a tensor costs less than binding another.
constexpr size_t kCopiedBytes = 16'384;

ov::Tensor view(const at::Tensor& tensor) {
  const auto sizes = tensor.sizes();
  const ov::Shape shape(sizes.begin(), sizes.end());
  const auto type = to_openvino(tensor.scalar_type());
  // OpenVINO does not accept a null address, not even for an empty tensor.
  if (tensor.numel() == 0) return {type, shape};
  return {type, shape, tensor.data_ptr()};
}

/// Allocates one execution's output. A dynamic dimension starts at 0: the engine grows the tensor.
ov::Tensor new_output(const TensorSpec& spec, const OutputPlace& place) {
  ov::Shape shape;
  for (const int64_t dim : spec.shape.value_or(std::vector<int64_t>{-1}))
    shape.push_back(dim < 0 ? 0 : static_cast<size_t>(dim));
  return {place.narrowed ? ov::element::f32 : to_openvino(spec.dtype), shape};
}

/// Returns a tensor over the memory of `output`, which it keeps alive.
at::Tensor wrap(ov::Tensor output, c10::ScalarType dtype) {
  const auto& shape = output.get_shape();
  const std::vector<int64_t> sizes(shape.begin(), shape.end());
  const auto options = at::TensorOptions().dtype(dtype);
  if (output.get_size() == 0) return at::empty(sizes, options);
  return at::from_blob(output.data(), sizes, [output](void*) {}, options);
}

at::Tensor copy(const ov::Tensor& output, c10::ScalarType dtype) {
  const auto& shape = output.get_shape();
  const std::vector<int64_t> sizes(shape.begin(), shape.end());
  at::Tensor copied = at::detail::empty_cpu(sizes, at::TensorOptions().dtype(dtype));
  if (const size_t bytes = copied.nbytes(); bytes != 0) std::memcpy(copied.mutable_data_ptr(), output.data(), bytes);
  return copied;
}

bool same_shape(const at::Tensor& input, const ov::Shape& shape) {
  return std::equal(input.sizes().begin(), input.sizes().end(), shape.begin(), shape.end(),
                    [](int64_t a, size_t b) { return static_cast<size_t>(a) == b; });
}

}  // namespace

OpenVinoContext::OpenVinoContext(Compilation& compilation, const Served& served)
    : compilation_(compilation), served_(served) {
  for (size_t i = 0; i < served_.inputs.size(); ++i) {
    if (may_not_fit(served_.inputs[i])) checked_.push_back(i);
  }
  if (served_.marks) place_ = served_.marks->add();
  renew_request();
}

void OpenVinoContext::renew_request() {
  auto made = compilation_.undamaged();
  auto request = made->model.create_infer_request();
  has_state_ = !request.query_state().empty();
  kept_inputs_.assign(served_.inputs.size(), {});
  kept_outputs_.assign(served_.outputs.size(), {});
  if (served_.marks) {
    ov::Tensor place(ov::element::i32, {1});
    *place.data<int32_t>() = place_;
    request.set_input_tensor(served_.inputs.size(), place);
  }
  const std::lock_guard lock(request_mutex_);
  request_ = std::move(request);
  made_ = std::move(made);
}

std::vector<at::Tensor> OpenVinoContext::execute(c10::ArrayRef<at::Tensor> inputs) {
  for (const size_t i : checked_) check_values(served_.inputs[i], inputs[i]);
  check_shapes(inputs);
  if (served_.marks) served_.marks->clear(place_);
  interrupted_ = false;
  try {
    // Another context's execution may break off in the graph that this one waits for.
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      if (made_->damaged) renew_request();
      bind(inputs);
      // One request's variables must not leak to the next, which may be another client's.
      if (has_state_) request_.reset_state();
      infer();
      if (const auto refusal = served_.marks ? served_.marks->refusal(place_) : std::nullopt) throw Error(*refusal);
      if (!made_->damaged) return outputs(inputs);
    }
    fail(Kind::Unavailable, "executions of other requests keep failing in the model: try again");
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    // A failure after a guard's refusal comes from the harmless numbers that it passed on.
    if (const auto refusal = served_.marks ? served_.marks->refusal(place_) : std::nullopt) throw Error(*refusal);
    throw failure(error, served_.inputs, inputs);
  }
}

void OpenVinoContext::infer() {
  const auto use = compilation_.use(*made_);
  if (made_->damaged) return;  // while this waited
  try {
    if (served_.infer_throws) {
      request_.infer();
    } else {
      request_.start_async();
      request_.wait();
    }
  } catch (...) {
    compilation_.note_broken_off(*made_);
    throw;
  }
  // OpenVINO may end a cancelled inference without an exception, and without its outputs.
  if (interrupted_) fail(Kind::Cancelled, "the execution was stopped");
}

/// An execution that fails on its shapes leaves the plugin's graph half shaped for them, and the next one may fail or
/// be wrong. So new shapes are first tried outside the graph.
void OpenVinoContext::check_shapes(c10::ArrayRef<at::Tensor> inputs) {
  if (!served_.shapes || !served_.shapes->is_dynamic()) return;
  if (std::equal(inputs.begin(), inputs.end(), good_shapes_.begin(), good_shapes_.end(), same_shape)) return;
  std::vector<ov::Shape> shapes;
  for (const auto& input : inputs) shapes.emplace_back(input.sizes().begin(), input.sizes().end());
  const auto objection = served_.shapes->objection(shapes);
  if (!objection.empty()) throw refused_shapes(served_.inputs, inputs, objection);
  good_shapes_ = std::move(shapes);
}

void OpenVinoContext::interrupt() noexcept {
  try {
    interrupted_ = true;
    if (served_.marks) served_.marks->stop(place_);
    // Running to the end takes less time than recompiling the model.
    if (compilation_.can_be_damaged()) return;
    const std::lock_guard lock(request_mutex_);
    request_.cancel();  // takes effect between two operations outside of loops
  } catch (...) {       // NOLINT(bugprone-empty-catch): the execution goes on to its end
  }
}

void OpenVinoContext::bind(c10::ArrayRef<at::Tensor> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) bind_input(i, inputs[i]);
  for (size_t i = 0; i < served_.outputs.size(); ++i) {
    if (served_.places[i].of == OutputPlace::Own && !kept_outputs_[i]) {
      request_.set_output_tensor(i, new_output(served_.outputs[i], served_.places[i]));
    }
  }
}

void OpenVinoContext::bind_input(size_t index, const at::Tensor& input) {
  auto& kept = kept_inputs_[index];
  if (input.nbytes() > kCopiedBytes || input.numel() == 0) {
    kept = {};
    request_.set_input_tensor(index, view(input));
    return;
  }
  if (!kept || !same_shape(input, kept.get_shape())) {
    kept = ov::Tensor(to_openvino(input.scalar_type()), ov::Shape(input.sizes().begin(), input.sizes().end()));
    request_.set_input_tensor(index, kept);
  }
  std::memcpy(kept.data(), input.const_data_ptr(), input.nbytes());
}

at::Tensor OpenVinoContext::take_output(size_t index, c10::ScalarType dtype) {
  auto& kept = kept_outputs_[index];
  ov::Tensor output = kept ? kept : request_.get_output_tensor(index);
  const bool small = output.get_byte_size() <= kCopiedBytes;
  at::Tensor taken = small ? copy(output, dtype) : wrap(output, dtype);
  kept = small ? std::move(output) : ov::Tensor();
  return taken;
}

std::vector<at::Tensor> OpenVinoContext::outputs(c10::ArrayRef<at::Tensor> inputs) {
  std::vector<at::Tensor> outputs;
  outputs.reserve(served_.outputs.size());
  for (size_t i = 0; i < served_.outputs.size(); ++i) {
    switch (served_.places[i].of) {
      case OutputPlace::Own:
        outputs.push_back(served_.places[i].narrowed ? take_output(i, at::kFloat).to(at::kDouble)
                                                     : take_output(i, served_.outputs[i].dtype));
        break;
      case OutputPlace::Input:
        outputs.push_back(inputs[served_.places[i].index].clone());
        break;
      case OutputPlace::Output:
        outputs.push_back(outputs[served_.places[i].index].clone());
        break;
    }
  }
  return outputs;
}

}  // namespace trtserve::openvino
