#include "backends/tensorrt/profile_context.h"

#include <algorithm>

#include <ATen/Functions.h>

#include "backends/tensorrt/logger.h"
#include "core/error.h"

namespace trtserve::tensorrt {

namespace {

cudaStream_t handle_of(c10::Stream stream) { return static_cast<cudaStream_t>(stream.native_handle()); }

// An address must not be null, not even for an empty tensor.
const void* input_address(const at::Tensor& tensor, void* blank) {
  return tensor.numel() == 0 ? blank : tensor.const_data_ptr();
}

void* output_address(const at::Tensor& tensor, void* blank) {
  return tensor.numel() == 0 ? blank : tensor.mutable_data_ptr();
}

/// Uninitialized host memory with the alignment that TensorRT requires of every address.
at::Tensor aligned_host_memory(c10::IntArrayRef sizes, c10::ScalarType dtype) {
  const auto bytes = static_cast<int64_t>(c10::multiply_integers(sizes) * c10::elementSize(dtype));
  const at::Tensor block = at::empty({bytes + kTensorAlignment}, at::kByte);
  const auto address = reinterpret_cast<uintptr_t>(block.const_data_ptr());
  const auto offset = static_cast<int64_t>((kTensorAlignment - address % kTensorAlignment) % kTensorAlignment);
  return block.narrow(0, offset, bytes).view(dtype).view(sizes);
}

}  // namespace

ProfileContext::ProfileContext(nvinfer1::ICudaEngine& engine, const Tensors& tensors, int32_t profile,
                               c10::Stream stream)
    : engine_(engine),
      tensors_(tensors),
      device_(stream.device()),
      context_(generation::create_context(engine)),
      host_inputs_(tensors.inputs.size()),
      follows_data_(tensors.outputs.size()) {
  if (!context_) fail_with_reason(Kind::ExecutionFailed, "TensorRT made no execution context");
  if (!context_->setOptimizationProfileAsync(profile, handle_of(stream))) {
    fail_with_reason(Kind::ExecutionFailed, c10::str("TensorRT could not select profile ", profile));
  }
  stream.synchronize();
  for (const auto& spec : tensors.outputs) {
    output_allocators_.push_back(std::make_unique<OutputAllocator>(device_, spec.dtype));
  }
}

bool ProfileContext::are_set(c10::ArrayRef<at::Tensor> inputs) const {
  const auto same = [](const at::Tensor& input, const std::vector<int64_t>& shape) { return input.sizes() == shape; };
  return std::equal(inputs.begin(), inputs.end(), shapes_.begin(), shapes_.end(), same);
}

void ProfileContext::prepare(c10::ArrayRef<at::Tensor> inputs) {
  if (are_set(inputs) && !tensors_.needs_values && !output_shapes_.empty()) return;
  enqueued_ = false;
  shapes_.clear();
  output_shapes_.clear();  // after a failure, the context has only some of the shapes
  for (size_t i = 0; i < inputs.size(); ++i) set_shape(tensors_.inputs[i], inputs[i], host_inputs_[i]);
  infer_shapes(inputs);
  for (const auto& input : inputs) shapes_.push_back(input.sizes().vec());
}

void ProfileContext::set_shape(const TensorSpec& spec, const at::Tensor& input, at::Tensor& host_values) {
  const char* name = spec.name.c_str();
  if (!context_->setInputShape(name, to_dims(input.sizes()))) {
    fail_with_reason(Kind::InvalidInput, c10::str("TensorRT does not accept shape ", format_shape(input.sizes()),
                                                  " for input '", spec.name, "'"));
  }
  if (!spec.on_host) return;
  // TensorRT reads it until enqueueV3 has returned, so the context keeps the copy.
  host_values = aligned_host_memory(input.sizes(), spec.dtype).copy_(input);
  if (!context_->setInputTensorAddress(name, host_values.const_data_ptr())) {
    fail_with_reason(Kind::ExecutionFailed,
                     c10::str("TensorRT does not accept an address for input '", spec.name, "'"));
  }
}

void ProfileContext::forget_host_outputs() {
  for (const auto& spec : tensors_.outputs) {
    if (spec.on_host && !context_->setTensorAddress(spec.name.c_str(), nullptr)) {
      fail_with_reason(Kind::ExecutionFailed,
                       c10::str("TensorRT does not accept a new address for output '", spec.name, "'"));
    }
  }
}

void ProfileContext::infer_shapes(c10::ArrayRef<at::Tensor> inputs) {
  // TensorRT writes to host outputs that have an address, which would still be an earlier execution's.
  forget_host_outputs();
  // It would return the names of missing inputs; all are set, so no space is passed.
  if (context_->inferShapes(0, nullptr) != 0) {
    fail_with_reason(Kind::InvalidInput, "TensorRT cannot infer the outputs' shapes from these inputs");
  }
  scratch_bytes_ = generation::scratch_bytes(engine_, *context_);
  if (scratch_bytes_ == 0 && !errors().text.empty()) {
    fail_with_reason(Kind::ExecutionFailed, "TensorRT cannot determine how much memory it needs");
  }
  for (size_t i = 0; i < tensors_.outputs.size(); ++i) {
    const char* name = tensors_.outputs[i].name.c_str();
    const auto dims = context_->getTensorShape(name);
    if (dims.nbDims < 0) fail_with_reason(Kind::ExecutionFailed, c10::str("output '", name, "' has no shape"));
    auto shape = to_vector(dims);
    // TensorRT keeps reporting a shape that it once found from the data, even if the next data gives another.
    if (std::any_of(shape.begin(), shape.end(), [](int64_t dim) { return dim < 0; })) follows_data_[i] = true;
    const bool is_known = !follows_data_[i];
    if (!is_known && tensors_.outputs[i].on_host) {
      fail(Kind::Unsupported, "output '", name, "' is on the host, and its shape depends on the inputs' values");
    }
    if (!context_->setOutputAllocator(name, is_known ? nullptr : output_allocators_[i].get())) {
      fail_with_reason(Kind::ExecutionFailed,
                       c10::str("TensorRT does not accept an allocator for output '", name, "'"));
    }
    if (!is_known) reserve_output(i, inputs);
    output_shapes_.push_back(is_known ? std::optional(std::move(shape)) : std::nullopt);
  }
}

void ProfileContext::reserve_output(size_t index, c10::ArrayRef<at::Tensor> inputs) {
  int64_t elements = 0;
  for (const auto& input : inputs) elements += input.numel();
  const auto element_bytes = static_cast<int64_t>(c10::elementSize(tensors_.outputs[index].dtype));
  output_allocators_[index]->set_least_bytes(generation::least_output_bytes(elements, element_bytes));
}

void ProfileContext::provide_scratch(void* memory, int64_t bytes) {
  generation::provide_scratch(*context_, memory, bytes);
}

bool ProfileContext::has_fixed_outputs() const {
  const auto on_device = [](const TensorSpec& spec) { return !spec.on_host; };
  return std::all_of(output_shapes_.begin(), output_shapes_.end(),
                     [](const auto& shape) { return shape.has_value(); }) &&
         std::all_of(tensors_.inputs.begin(), tensors_.inputs.end(), on_device) &&
         std::all_of(tensors_.outputs.begin(), tensors_.outputs.end(), on_device);
}

std::vector<at::Tensor> ProfileContext::new_outputs() const {
  std::vector<at::Tensor> outputs(tensors_.outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (output_shapes_[i]) outputs[i] = new_output(i);
  }
  return outputs;
}

at::Tensor ProfileContext::new_output(size_t index) const {
  const auto& spec = tensors_.outputs[index];
  const auto& shape = *output_shapes_[index];
  if (spec.on_host) return aligned_host_memory(shape, spec.dtype);
  return at::empty(shape, at::TensorOptions().dtype(spec.dtype).device(device_));
}

void ProfileContext::set_addresses(c10::ArrayRef<at::Tensor> inputs, const std::vector<at::Tensor>& outputs,
                                   void* blank) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& spec = tensors_.inputs[i];
    if (spec.on_host) continue;  // prepare() has set its address
    if (!context_->setInputTensorAddress(spec.name.c_str(), input_address(inputs[i], blank))) {
      fail_with_reason(Kind::ExecutionFailed,
                       c10::str("TensorRT does not accept an address for input '", spec.name, "'"));
    }
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto& spec = tensors_.outputs[i];
    // Null: the memory comes from the output's allocator.
    void* address = outputs[i].defined() ? output_address(outputs[i], blank) : nullptr;
    if (!context_->setTensorAddress(spec.name.c_str(), address)) {
      fail_with_reason(Kind::ExecutionFailed, c10::str("TensorRT takes no address for output '", spec.name, "'"));
    }
  }
}

void ProfileContext::enqueue(c10::ArrayRef<at::Tensor> inputs, std::vector<at::Tensor>& outputs, void* blank,
                             cudaStream_t handle) {
  set_addresses(inputs, outputs, blank);
  if (!context_->enqueueV3(handle)) fail_with_reason(Kind::ExecutionFailed, "TensorRT could not run the engine");
  enqueued_ = true;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].defined()) continue;
    auto output = output_allocators_[i]->take();
    if (!output) {
      fail_with_reason(Kind::ExecutionFailed,
                       c10::str("TensorRT did not report the shape of output '", tensors_.outputs[i].name, "'"));
    }
    outputs[i] = std::move(*output);
  }
}

}  // namespace trtserve::tensorrt
