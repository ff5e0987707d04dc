#include "backends/openvino/guard.h"

#include <cstring>

namespace trtserve::openvino {

namespace {

/// OpenVINO hands on an exception's text alone, with its own around it: these stand before and after ours.
constexpr char kBegin = '\x02';
constexpr char kEnd = '\x03';

}  // namespace

Guard::Guard(const ov::OutputVector& inputs, std::shared_ptr<const Check> check, std::shared_ptr<Marks> marks)
    : Op(inputs), check_(std::move(check)), marks_(std::move(marks)) {
  constructor_validate_and_infer_types();
}

void Guard::validate_and_infer_types() { set_output_type(0, get_input_element_type(0), get_input_partial_shape(0)); }

std::shared_ptr<ov::Node> Guard::clone_with_new_inputs(const ov::OutputVector& inputs) const {
  return std::make_shared<Guard>(inputs, check_, marks_);
}

bool Guard::evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const {
  try {
    (*check_)(inputs);
  } catch (const Error& error) {
    if (marks_) {
      marks_->refuse(*inputs.back().data<const int32_t>(), error);
      outputs[0].set_shape(inputs[0].get_shape());
      if (outputs[0].get_byte_size() > 0) std::memset(outputs[0].data(), 0, outputs[0].get_byte_size());
      return true;
    }
    throw std::runtime_error(c10::str(kBegin, name(error.kind()), ' ', error.what(), kEnd));
  }
  outputs[0].set_shape(inputs[0].get_shape());
  if (inputs[0].get_byte_size() > 0) std::memcpy(outputs[0].data(), inputs[0].data(), inputs[0].get_byte_size());
  return true;
}

std::optional<Error> refusal(const std::exception& error) {
  const std::string text = error.what();
  const auto begin = text.find(kBegin);
  const auto end = text.find(kEnd, begin == std::string::npos ? 0 : begin);
  if (begin == std::string::npos || end == std::string::npos) return std::nullopt;
  const std::string told = text.substr(begin + 1, end - begin - 1);
  for (const Kind kind : kAllKinds) {
    const auto prefix = c10::str(name(kind), ' ');
    if (told.rfind(prefix, 0) == 0) return Error(kind, told.substr(prefix.size()));
  }
  return std::nullopt;
}

}  // namespace trtserve::openvino
