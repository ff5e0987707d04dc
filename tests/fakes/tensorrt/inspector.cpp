#include "inspector.h"

namespace trtserve::fake::trt {

using nvinfer1::LayerInformationFormat;

namespace {

std::string layer(int32_t index, LayerInformationFormat format) {
  const std::string name = "layer " + std::to_string(index);
  return format == LayerInformationFormat::kJSON ? '"' + name + '"' : name;
}

std::string one_line_each(const Plan& plan) {
  std::string lines;
  for (int32_t i = 0; i < plan.layers; ++i) lines += layer(i, LayerInformationFormat::kONELINE) + "\n";
  return lines;
}

/// The real library's JSON for a plan that keeps only the layers' names.
std::string json(const Plan& plan) {
  std::string text = R"({"Layers": [)";
  for (int32_t i = 0; i < plan.layers; ++i) text += (i > 0 ? "," : "") + layer(i, LayerInformationFormat::kJSON);
  text += R"(],"Bindings": [)";
  for (const auto& tensor : plan.tensors) text += (&tensor != plan.tensors.data() ? ",\"" : "\"") + tensor.name + '"';
  return text + "]}";
}

}  // namespace

void Inspector::operator delete(Inspector* self, std::destroying_delete_t) {
  const auto state = destroy(self->object_);
  if (state == nullptr) return;
  --state->engine->inspectors;
  state->reporter.set_recorder(nullptr);
}

bool Inspector::setExecutionContext(nvinfer1::IExecutionContext const* /*context*/) noexcept {
  const Call call(object_, "setExecutionContext");
  return static_cast<bool>(call);
}

char const* Inspector::getLayerInformation(int32_t index, LayerInformationFormat format) const noexcept {
  const Call call(object_, "getLayerInformation");
  if (!call) return nullptr;
  if (index < 0 || index >= call->engine->plan->layers) {
    call->reporter.misuse("getLayerInformation", "there is no layer ", index);
    return nullptr;
  }
  call->result = layer(index, format);
  return call->result.c_str();
}

char const* Inspector::getEngineInformation(LayerInformationFormat format) const noexcept {
  const Call call(object_, "getEngineInformation");
  if (!call) return nullptr;
  const auto& plan = *call->engine->plan;
  call->result = format == LayerInformationFormat::kJSON ? json(plan) : one_line_each(plan);
  return call->result.c_str();
}

void Inspector::setErrorRecorder(nvinfer1::IErrorRecorder* recorder) noexcept {
  const Call call(object_, "setErrorRecorder");
  if (call) call->reporter.set_recorder(recorder);
}

nvinfer1::IErrorRecorder* Inspector::getErrorRecorder() const noexcept {
  const Call call(object_, "getErrorRecorder");
  return call ? call->reporter.recorder() : nullptr;
}

}  // namespace trtserve::fake::trt
