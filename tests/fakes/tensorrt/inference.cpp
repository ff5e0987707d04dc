#include "inference.h"

#include <algorithm>
#include <sstream>

#include "kernels.h"

namespace trtserve::fake::trt {

namespace {

bool known(const Shape& shape) {
  return std::none_of(shape.begin(), shape.end(), [](int64_t dim) { return dim < 0; });
}

/// Returns "input 'x': [9, 4] is outside profile 0, [1, 4] to [8, 4]", or an empty string if it is inside.
std::string outside(const ContextState& context, const Tensor& input, const Shape& numbers, const Range& range) {
  bool within = numbers.size() == range[0].size();
  for (size_t i = 0; within && i < numbers.size(); ++i) {
    within = numbers[i] >= range[0][i] && numbers[i] <= range[2][i];
  }
  if (within) return "";
  std::ostringstream sentence;
  sentence << "input '" << input.name << "': " << format(numbers) << " is outside profile " << context.profile << ", "
           << format(range[0]) << " to " << format(range[2]);
  return sentence.str();
}

Shape read_values(const Tensor& input, const void* address) {
  Shape values(static_cast<size_t>(input.dims[0]));
  if (input.type == kIndexType) {
    std::copy_n(static_cast<const Index*>(address), values.size(), values.begin());
  } else {
    std::copy_n(static_cast<const int32_t*>(address), values.size(), values.begin());
  }
  return values;
}

/// The shape that was set, otherwise the plan's, with the dimensions that the profile fixes.
Shape input_shape(const ContextState& context, size_t index) {
  if (context.input_shapes[index]) return *context.input_shapes[index];
  const auto& input = context.plan.tensors[index];
  Shape shape = input.dims;
  const auto found = context.ranges().dims.find(input.name);
  for (size_t i = 0; found != context.ranges().dims.end() && i < shape.size(); ++i) {
    if (found->second[0][i] == found->second[2][i]) shape[i] = found->second[0][i];
  }
  return shape;
}

void infer_shape_input(const ContextState& context, size_t index, Inference& inference) {
  const auto& input = context.plan.tensors[index];
  if (context.addresses[index] == nullptr) {
    inference.missing.push_back(&input);
    return;
  }
  const auto values = read_values(input, context.addresses[index]);
  const auto range = context.ranges().values.find(input.name);
  if (range != context.ranges().values.end()) {
    const auto wrong = outside(context, input, values, range->second);
    if (!wrong.empty()) inference.error = "the values of " + wrong;
  }
  inference.values[index] = values;
}

Shape infer_output(const Tensor& output, Inference& inference) {
  const auto& first = inference.shapes[output.first];
  if (output.kind == Kind::Add) {
    const auto& second = inference.shapes[output.second];
    if (known(first) && known(second) && first != second) {
      inference.error = "output '" + output.name + "': " + format(first) + " and " + format(second) + " do not add up";
    }
    return known(first) ? second : first;
  }
  if (output.kind == Kind::Scale || output.kind == Kind::Cast) return first;
  if (output.kind != Kind::Fill) return output.dims;
  const auto found = inference.values.find(output.first);
  if (found == inference.values.end()) return output.dims;
  if (!known(found->second)) {
    inference.error = "output '" + output.name + "' would have the shape " + format(found->second);
  }
  return found->second;
}

}  // namespace

Inference infer(const ContextState& context) {
  Inference inference;
  const auto& tensors = context.plan.tensors;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].is_input()) {
      inference.shapes.push_back(infer_output(tensors[i], inference));
      continue;
    }
    inference.shapes.push_back(input_shape(context, i));
    if (!known(inference.shapes[i])) inference.missing.push_back(&tensors[i]);
    if (tensors[i].kind == Kind::ShapeInput) infer_shape_input(context, i, inference);
  }
  return inference;
}

Inference infer_and_remember(ContextState& context) {
  auto inference = infer(context);
  context.seen_values = inference.values;
  return inference;
}

void write_host_outputs(const ContextState& context, const Inference& inference) {
  for (size_t i = 0; i < context.plan.tensors.size(); ++i) {
    const auto& tensor = context.plan.tensors[i];
    if (tensor.kind != Kind::ShapeOf || context.addresses[i] == nullptr) continue;
    write_shape(inference.shapes[tensor.first], context.addresses[i]);
  }
}

std::string objection(const ContextState& context, const Tensor& input, const Shape& shape) {
  if (shape.size() != input.dims.size()) {
    return "input '" + input.name + "': " + format(shape) + " has another rank than " + format(input.dims);
  }
  const auto found = context.ranges().dims.find(input.name);
  if (found != context.ranges().dims.end()) return outside(context, input, shape, found->second);
  if (shape == input.dims) return "";
  return "input '" + input.name + "': " + format(shape) + " is not the plan's " + format(input.dims);
}

}  // namespace trtserve::fake::trt
