#include "backends/openvino/guard.h"

#include <cstring>

#include <openvino/op/constant.hpp>

namespace trtserve::openvino {

namespace {

/// OpenVINO passes on only an exception's text, embedded in its own: these characters delimit ours.
constexpr char kBegin = '\x02';
constexpr char kEnd = '\x03';

void hand_on(ov::Tensor& output, const ov::Shape& shape, const void* data) {
  output.set_shape(shape);
  if (output.get_byte_size() > 0) std::memcpy(output.data(), data, output.get_byte_size());
}

}  // namespace

Guard::Guard(const ov::OutputVector& inputs, std::shared_ptr<const Check> check, std::shared_ptr<Marks> marks,
             int harmless)
    : Op(inputs), check_(std::move(check)), marks_(std::move(marks)), harmless_(harmless) {
  constructor_validate_and_infer_types();
}

void Guard::validate_and_infer_types() { set_output_type(0, get_input_element_type(0), get_input_partial_shape(0)); }

std::shared_ptr<ov::Node> Guard::clone_with_new_inputs(const ov::OutputVector& inputs) const {
  return std::make_shared<Guard>(inputs, check_, marks_, harmless_);
}

bool Guard::evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const {
  const auto& shape = inputs[0].get_shape();
  try {
    (*check_)(inputs);
  } catch (const Error& error) {
    if (!marks_) throw std::runtime_error(c10::str(kBegin, name(error.kind()), ' ', error.what(), kEnd));
    marks_->refuse(*inputs.back().data<const int32_t>(), error);
    const ov::op::v0::Constant numbers(inputs[0].get_element_type(), shape, harmless_);
    hand_on(outputs[0], shape, numbers.get_data_ptr());
    return true;
  }
  hand_on(outputs[0], shape, inputs[0].get_byte_size() > 0 ? inputs[0].data() : nullptr);
  return true;
}

std::optional<Error> refusal(const std::exception& error) {
  const std::string text = error.what();
  const auto begin = text.find(kBegin);
  const auto end = text.find(kEnd, begin == std::string::npos ? 0 : begin);
  if (begin == std::string::npos || end == std::string::npos) return std::nullopt;
  const std::string reason = text.substr(begin + 1, end - begin - 1);
  for (const Kind kind : kAllKinds) {
    const auto prefix = c10::str(name(kind), ' ');
    if (reason.rfind(prefix, 0) == 0) return Error(kind, reason.substr(prefix.size()));
  }
  return std::nullopt;
}

}  // namespace trtserve::openvino
