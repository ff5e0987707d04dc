#include "backends/openvino/checks.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include <openvino/op/constant.hpp>
#include <openvino/op/parameter.hpp>

#include "core/tensor_spec.h"

namespace trtserve::openvino {

namespace {

/// Calls `see` with the tensor's data as an array of its C++ type and with its length.
template <typename See>
void with_numbers(const ov::Tensor& tensor, See see) {
  const size_t count = tensor.get_size();
  if (count == 0) return;
  const void* data = tensor.data();
  const auto as = [&](auto zero) { see(static_cast<const decltype(zero)*>(data), count); };
  const auto type = tensor.get_element_type();
  if (type == ov::element::i32) return as(int32_t{});
  if (type == ov::element::i64) return as(int64_t{});
  if (type == ov::element::u8) return as(uint8_t{});
  if (type == ov::element::i8) return as(int8_t{});
  if (type == ov::element::u16) return as(uint16_t{});
  if (type == ov::element::i16) return as(int16_t{});
  if (type == ov::element::u32) return as(uint32_t{});
  if (type == ov::element::u64) return as(uint64_t{});
  if (type == ov::element::f32) return as(float{});
  if (type == ov::element::f64) return as(double{});
  if (type == ov::element::f16) return as(ov::float16{});
  if (type == ov::element::bf16) return as(ov::bfloat16{});
  fail(Kind::Unsupported, "numbers of type ", type.get_type_name(), " cannot be checked");
}

std::vector<int64_t> integers(const ov::Tensor& tensor) {
  std::vector<int64_t> integers;
  with_numbers(tensor, [&](const auto* numbers, size_t count) {
    for (size_t i = 0; i < count; ++i) integers.push_back(static_cast<int64_t>(numbers[i]));
  });
  return integers;
}

[[noreturn]] void refuse(const Subject& subject, double value, const std::string& allowed) {
  std::string number = std::abs(value) < 1e15 && value == std::floor(value)
                           ? std::to_string(static_cast<int64_t>(value))
                           : c10::str(value);
  fail(Kind::InvalidInput, "tensor '", subject.tensor, "' has the value ", number, ", but node '", subject.node, "' (",
       subject.operation, ") takes ", allowed);
}

/// Written so that NaN counts as outside.
void check_range(const Subject& subject, const ov::Tensor& tensor, int64_t least, int64_t most,
                 const std::string& of = "") {
  with_numbers(tensor, [&](const auto* numbers, size_t count) {
    const auto outside = [&](const auto& number) {
      using Number = std::decay_t<decltype(number)>;
      if constexpr (std::is_same_v<Number, uint64_t>) {
        return number > static_cast<uint64_t>(std::max<int64_t>(most, -1)) || most < 0;
      } else if constexpr (std::is_integral_v<Number>) {
        return static_cast<int64_t>(number) < least || static_cast<int64_t>(number) > most;
      } else {
        const auto wide = static_cast<double>(number);
        return !(wide >= static_cast<double>(least) && wide <= static_cast<double>(most));
      }
    };
    const auto* found = std::find_if(numbers, numbers + count, outside);
    if (found == numbers + count) return;
    if (most < least) refuse(subject, static_cast<double>(*found), "none" + of);
    refuse(subject, static_cast<double>(*found), c10::str("only those from ", least, " to ", most, of));
  });
}

[[noreturn]] void fail_together(const Subject& subject) {
  fail(Kind::InvalidInput, "node '", subject.node, "' (", subject.operation, ") cannot take the values of tensor '",
       subject.tensor, "' together with its other inputs");
}

/// Rebuilds the operation with inputs from the tensors, so that OpenVINO itself computes the output shapes.
std::shared_ptr<ov::Node> with_inputs(const Subject& subject, const ov::Node& operation,
                                      const std::vector<OperationInput>& inputs, const ov::TensorVector& tensors) {
  auto sources = operation.input_values();
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& input = inputs[i];
    if (input.is_value) {
      sources[input.port] = std::make_shared<ov::op::v0::Constant>(tensors[i]);
    } else {
      const auto shape = integers(tensors[i]);
      const auto type = operation.get_input_element_type(input.port);
      sources[input.port] = std::make_shared<ov::op::v0::Parameter>(type, ov::Shape(shape.begin(), shape.end()));
    }
  }
  try {
    return operation.clone_with_new_inputs(sources);
  } catch (const std::exception&) {
    fail_together(subject);
  }
}

/// The sum of two larger sizes can overflow OpenVINO's 32 bits.
constexpr int64_t kLargestSize = (int64_t{1} << 30) - 1;

std::string of_shape(const std::vector<int64_t>& shape) { return c10::str(" for data of shape ", format_shape(shape)); }

}  // namespace

Check within(Subject subject, int64_t least, int64_t most) {
  return [subject = std::move(subject), least, most](const ov::TensorVector& tensors) {
    check_range(subject, tensors[0], least, most);
  };
}

Check indices_along(Subject subject, size_t axis) {
  return [subject = std::move(subject), axis](const ov::TensorVector& tensors) {
    const auto shape = integers(tensors[1]);
    const int64_t size = shape.at(axis);
    check_range(subject, tensors[0], -size, size - 1, of_shape(shape));
  };
}

Check position_in(Subject subject, int64_t size) {
  return [subject = std::move(subject), size](const ov::TensorVector& tensors) {
    check_range(subject, tensors[1], -size, size - 1, c10::str(" for a sequence of ", size));
  };
}

Check index_rows(Subject subject, size_t batch_dims) {
  return [subject = std::move(subject), batch_dims](const ov::TensorVector& tensors) {
    const auto shape = integers(tensors[1]);
    if (tensors[0].get_size() == 0) return;
    const size_t width = tensors[0].get_shape().back();
    if (batch_dims + width > shape.size()) {
      fail(Kind::InvalidInput, "node '", subject.node, "' (", subject.operation, ") takes at most ",
           shape.size() - std::min(batch_dims, shape.size()), " indices a row", of_shape(shape), ", and tensor '",
           subject.tensor, "' has ", width);
    }
    with_numbers(tensors[0], [&](const auto* numbers, size_t count) {
      for (size_t i = 0; i < count; ++i) {
        const int64_t size = shape[batch_dims + i % width];
        const auto index = static_cast<int64_t>(numbers[i]);  // NOLINT(bugprone-signed-char-misuse): a number
        if (index >= -size && index < size) continue;
        refuse(subject, static_cast<double>(index),
               c10::str("indices from ", -size, " to ", size - 1, " in column ", i % width, of_shape(shape)));
      }
    });
  };
}

Check up_to_size(Subject subject, int64_t least, size_t axis, int64_t more) {
  return [subject = std::move(subject), least, axis, more](const ov::TensorVector& tensors) {
    const auto shape = integers(tensors[1]);
    check_range(subject, tensors[0], least, shape.at(axis) + more, of_shape(shape));
  };
}

Check no_zero(Subject subject) {
  return [subject = std::move(subject)](const ov::TensorVector& tensors) {
    with_numbers(tensors[0], [&](const auto* numbers, size_t count) {
      if (std::any_of(numbers, numbers + count, [](const auto& number) { return static_cast<double>(number) == 0; })) {
        refuse(subject, 0, "no 0");
      }
    });
  };
}

Check range_length(Subject subject, size_t most_elements) {
  return [subject = std::move(subject), most_elements](const ov::TensorVector& tensors) {
    const auto number_of = [&](size_t i) {
      double number = 0;
      with_numbers(tensors.at(i), [&](const auto* numbers, size_t) { number = static_cast<double>(numbers[0]); });
      return number;
    };
    const double length = std::ceil(std::abs(number_of(1) - number_of(0)) / std::abs(number_of(2)));
    if (length <= static_cast<double>(most_elements)) return;
    fail(Kind::InvalidInput, "node '", subject.node, "' (", subject.operation, ") gets the start ", number_of(0),
         ", the stop ", number_of(1), " and the step ", number_of(2), ", which make ", length,
         " numbers; the limit is ", most_elements);
  };
}

Check same_shape(Subject subject) {
  return [subject = std::move(subject)](const ov::TensorVector& tensors) {
    const auto first = integers(tensors[1]);
    const auto& dims = tensors[0].get_shape();
    const std::vector<int64_t> shape(dims.begin(), dims.end());
    if (first == shape || first.empty() || first.front() < 0) return;
    fail(Kind::InvalidInput, "node '", subject.node, "' (", subject.operation, ") joins its iterations' outputs into '",
         subject.tensor, "', which must all be of one shape; the first is of shape ", format_shape(first),
         ", a later one of shape ", format_shape(shape));
  };
}

Check output_size(Subject subject, std::shared_ptr<const ov::Node> operation, std::vector<OperationInput> inputs,
                  size_t most_bytes) {
  // OpenVINO may end the process if the number of repeats is negative.
  const int64_t least = std::string_view(operation->get_type_name()) == "Tile" ? 0 : -kLargestSize;
  return [least, most_bytes, subject = std::move(subject), operation = std::move(operation),
          inputs = std::move(inputs)](const ov::TensorVector& tensors) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].is_value) check_range(subject, tensors[i], least, kLargestSize);
    }
    const auto tried = with_inputs(subject, *operation, inputs, tensors);
    const std::string type = tried->get_type_name();
    const bool is_known = type == "Pad" || type == "Interpolate";  // if the operation can be rebuilt
    for (const auto& output : tried->outputs()) {
      if (is_known && output.get_partial_shape().is_dynamic()) fail_together(subject);
      if (output.get_partial_shape().rank().is_dynamic()) continue;
      auto bytes = static_cast<double>(std::max<size_t>(1, output.get_element_type().size()));
      for (const auto& dim : output.get_partial_shape()) {
        if (dim.is_static()) bytes *= static_cast<double>(dim.get_length());
      }
      if (bytes <= static_cast<double>(most_bytes)) continue;
      fail(Kind::InvalidInput, "tensor '", subject.tensor, "' asks node '", subject.node, "' (", subject.operation,
           ") for an output of ", bytes, " bytes; the limit for a tensor whose size depends on a request's values is ",
           most_bytes);
    }
  };
}

}  // namespace trtserve::openvino
