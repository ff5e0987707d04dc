#include "backends/openvino/engine.h"

#include <algorithm>

#include <openvino/runtime/properties.hpp>

#include "backends/openvino/compiled_file.h"
#include "backends/openvino/datatypes.h"
#include "backends/openvino/value_range.h"

namespace trtserve::openvino {

namespace {

using Port = ov::Output<const ov::Node>;

std::optional<std::vector<int64_t>> dims(const ov::PartialShape& shape) {
  if (shape.rank().is_dynamic()) return std::nullopt;
  std::vector<int64_t> dims;
  for (const auto& dim : shape) dims.push_back(dim.is_dynamic() ? -1 : dim.get_length());
  return dims;
}

/// OpenVINO's only profile: the bounds of dynamic dimensions, if there are any.
std::vector<ShapeRange> profiles(const ov::PartialShape& shape) {
  ShapeRange range;
  bool bounded = false;
  for (const auto& dim : shape) {
    range.min.push_back(dim.get_min_length());
    range.max.push_back(dim.get_max_length());  // -1 if unbounded
    bounded |= dim.is_dynamic() && (dim.get_min_length() > 0 || dim.get_max_length() >= 0);
  }
  if (!bounded) return {};
  range.opt = range.min;
  return {range};
}

std::vector<TensorSpec> specs(const std::vector<Port>& ports, const std::vector<std::string>& names,
                              const ov::element::Type& float_type) {
  std::vector<TensorSpec> specs;
  for (size_t i = 0; i < ports.size(); ++i) {
    const auto& shape = ports[i].get_partial_shape();
    TensorSpec spec;
    spec.name = names[i];
    spec.dtype = to_torch(ports[i].get_element_type(), spec.name);
    spec.shape = dims(shape);
    if (spec.shape) spec.profiles = profiles(shape);
    spec.computed_as = computed_as(spec.dtype, float_type);
    specs.push_back(std::move(spec));
  }
  return specs;
}

/// The file's inputs: the last input is ours if guards need to know the execution.
std::vector<Port> declared_inputs(const ov::CompiledModel& model, const Safety& safety) {
  auto inputs = model.inputs();
  if (safety.marks) inputs.pop_back();
  return inputs;
}

std::vector<TensorSpec> input_specs(const ov::CompiledModel& model, const TensorNames& names,
                                    const std::vector<ov::element::Type>& cast_first, const Safety& safety) {
  auto inputs = specs(declared_inputs(model, safety), names.inputs, model.get_property(ov::hint::inference_precision));
  for (size_t i = 0; i < cast_first.size(); ++i) {
    // Values beyond FP32 are beyond narrower types too: there they correctly become infinite.
    const auto& cast = cast_first[i];
    const bool any_size = cast.is_real() && (inputs[i].dtype != c10::ScalarType::Double || cast.bitwidth() < 32);
    if (any_size && may_not_fit(inputs[i])) {
      inputs[i].computed_as = cast.bitwidth() > 32 ? c10::ScalarType::Float : to_torch(cast, inputs[i].name);
    }
  }
  return inputs;
}

std::vector<TensorSpec> output_specs(const ov::CompiledModel& model, const TensorNames& names, const Safety& safety) {
  const auto float_type = model.get_property(ov::hint::inference_precision);
  auto outputs = specs(model.outputs(), names.outputs, float_type);
  for (const size_t i : safety.narrowed) {
    outputs[i].dtype = c10::ScalarType::Double;
    outputs[i].computed_as = computed_as(outputs[i].dtype, float_type);
  }
  return outputs;
}

std::vector<OutputPlace> output_places(const ov::CompiledModel& model, const Safety& safety) {
  std::vector<OutputPlace> places;
  const auto& inputs = model.inputs();
  const auto& outputs = model.outputs();
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto same = [&](const Port& port) { return &port.get_tensor() == &outputs[i].get_tensor(); };
    const auto input = std::find_if(inputs.begin(), inputs.end(), same);
    const auto output = std::find_if(outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(i), same);
    if (input != inputs.end()) {
      places.push_back({OutputPlace::Input, static_cast<size_t>(input - inputs.begin())});
    } else if (output != outputs.begin() + static_cast<std::ptrdiff_t>(i)) {
      places.push_back({OutputPlace::Output, static_cast<size_t>(output - outputs.begin())});
    } else {
      places.push_back({OutputPlace::Own, i, safety.narrowed.count(i) > 0});
    }
  }
  return places;
}

std::map<std::string, std::string> properties_of(const ov::CompiledModel& model, const Kept& kept) {
  return {
      {"streams", std::to_string(model.get_property(ov::num_streams).num)},
      {"threads", std::to_string(model.get_property(ov::inference_num_threads))},
      {"precision", model.get_property(ov::hint::inference_precision).get_type_name()},
      {"compiled", kept.imported ? "at an earlier load" : "at this load"},
  };
}

}  // namespace

OpenVinoEngine::OpenVinoEngine(const ov::CompiledModel& model, const TensorNames& names,
                               const std::vector<ov::element::Type>& cast_first, Safety safety, int instances,
                               std::shared_ptr<const int> stream_threads, Kept kept)
    : stream_threads_(std::move(stream_threads)),
      instances_(instances),
      is_steady_(safety.steady),
      kept_key_(kept.imported ? "" : std::move(kept.key)),
      properties_(properties_of(model, kept)),
      served_{input_specs(model, names, cast_first, safety),
              output_specs(model, names, safety),
              output_places(model, safety),
              std::move(safety.shapes),
              std::move(safety.marks),
              safety.infer_throws},
      compilation_(model, std::move(safety.again), /*one_graph=*/stream_threads_ == nullptr) {}

std::unique_ptr<ExecutionContext> OpenVinoEngine::create_context() {
  return std::make_unique<OpenVinoContext>(compilation_, served_);
}

bool OpenVinoEngine::write_compiled(const std::string& path) const {
  if (kept_key_.empty()) return false;
  openvino::write_compiled(path, kept_key_, compilation_.undamaged()->model);
  return true;
}

}  // namespace trtserve::openvino
