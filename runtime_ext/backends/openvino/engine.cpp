#include "backends/openvino/engine.h"

#include <openvino/runtime/properties.hpp>

#include "backends/openvino/datatypes.h"

namespace trtserve::openvino {

namespace {

using Port = ov::Output<const ov::Node>;

std::string port_name(const Port& port, const char* role, size_t index) {
  return port.get_names().empty() ? c10::str(role, index) : port.get_any_name();
}

std::optional<std::vector<int64_t>> dims(const ov::PartialShape& shape) {
  if (shape.rank().is_dynamic()) return std::nullopt;
  std::vector<int64_t> dims;
  for (const auto& dim : shape) dims.push_back(dim.is_dynamic() ? -1 : dim.get_length());
  return dims;
}

/// The one profile that OpenVINO knows: the bounds of dynamic dimensions, where there are any.
std::vector<ShapeRange> profiles(const ov::PartialShape& shape) {
  ShapeRange range;
  bool bounded = false;
  for (const auto& dim : shape) {
    range.min.push_back(dim.get_min_length());
    range.max.push_back(dim.get_max_length());  // -1 where there is no bound
    bounded |= dim.is_dynamic() && (dim.get_min_length() > 0 || dim.get_max_length() >= 0);
  }
  if (!bounded) return {};
  range.opt = range.min;
  return {range};
}

std::vector<TensorSpec> specs(const std::vector<Port>& ports, const char* role) {
  std::vector<TensorSpec> specs;
  for (size_t i = 0; i < ports.size(); ++i) {
    const auto& shape = ports[i].get_partial_shape();
    TensorSpec spec;
    spec.name = port_name(ports[i], role, i);
    spec.dtype = to_torch(ports[i].get_element_type(), spec.name);
    spec.shape = dims(shape);
    if (spec.shape) spec.profiles = profiles(shape);
    specs.push_back(std::move(spec));
  }
  return specs;
}

/// Those of the file: the last is ours where the model has loops to stop.
std::vector<Port> declared_inputs(const ov::CompiledModel& model, const Safety& safety) {
  auto inputs = model.inputs();
  if (safety.stops) inputs.pop_back();
  return inputs;
}

}  // namespace

OpenVinoEngine::OpenVinoEngine(ov::CompiledModel model, int instances, Safety safety,
                               std::shared_ptr<const int> stream_threads)
    : stream_threads_(std::move(stream_threads)),
      model_(std::move(model)),
      instances_(instances),
      served_{specs(declared_inputs(model_, safety), "input"), specs(model_.outputs(), "output"),
              std::move(safety.shapes), std::move(safety.stops)} {}

std::map<std::string, std::string> OpenVinoEngine::properties() const {
  return {
      {"streams", std::to_string(model_.get_property(ov::num_streams).num)},
      {"threads", std::to_string(model_.get_property(ov::inference_num_threads))},
      {"precision", model_.get_property(ov::hint::inference_precision).get_type_name()},
  };
}

std::unique_ptr<ExecutionContext> OpenVinoEngine::create_context() {
  return std::make_unique<OpenVinoContext>(model_.create_infer_request(), served_);
}

}  // namespace trtserve::openvino
