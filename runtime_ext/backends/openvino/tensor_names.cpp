#include "backends/openvino/tensor_names.h"

#include <algorithm>
#include <set>

#include <c10/util/StringUtil.h>

namespace trtserve::openvino {

namespace {

using Port = ov::Output<const ov::Node>;

/// The suffix that OpenVINO's ONNX frontend adds to an output's name to name its node.
constexpr std::string_view kSink = "/sink_port_0";

std::string node_name(const Port& port) {
  std::string name = port.get_node()->get_friendly_name();
  if (name.size() > kSink.size() && name.compare(name.size() - kSink.size(), kSink.size(), kSink) == 0) {
    name.resize(name.size() - kSink.size());
  }
  return name;
}

std::vector<std::string> names_of(const std::vector<Port>& ports, const char* role) {
  std::vector<std::string> names;
  std::set<std::string> taken;
  for (size_t i = 0; i < ports.size(); ++i) {
    const std::set<std::string> aliases(ports[i].get_names().begin(), ports[i].get_names().end());
    std::string name = node_name(ports[i]);
    if (aliases.count(name) == 0 || taken.count(name) != 0) {
      const auto free =
          std::find_if(aliases.begin(), aliases.end(), [&](const auto& a) { return taken.count(a) == 0; });
      name = free == aliases.end() ? c10::str(role, i) : *free;
    }
    taken.insert(name);
    names.push_back(std::move(name));
  }
  return names;
}

std::vector<std::string> names_of(const std::vector<DeclaredTensor>& tensors) {
  std::vector<std::string> names;
  names.reserve(tensors.size());
  for (const auto& tensor : tensors) names.push_back(tensor.name);
  return names;
}

}  // namespace

TensorNames names_of(const OnnxFile& file) { return {names_of(file.inputs), names_of(file.outputs)}; }

TensorNames names_of(const ov::CompiledModel& blob) {
  return {names_of(blob.inputs(), "input"), names_of(blob.outputs(), "output")};
}

}  // namespace trtserve::openvino
