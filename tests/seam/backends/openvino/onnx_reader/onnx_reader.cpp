#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "backends/openvino/onnx_file.h"
#include "core/error.h"

/// The ONNX file reader alone, for tests with thousands of files. Writes its report to `report`: a line for each
/// declared input and output, or the kind and sentence of its refusal. Returns true if it accepts the file.
extern "C" bool onnx_reader_read(const char* bytes, size_t size, char* report, size_t longest) {
  // A copy of the exact size, so that a sanitizer detects reads beyond it.
  const std::vector<char> copy(bytes, bytes + size);
  std::string text;
  bool taken = false;
  try {
    const auto file = trtserve::openvino::read_onnx_bytes({copy.data(), copy.size()});
    for (const auto& input : file.inputs) text += "input " + input.name + "\n";
    for (const auto& output : file.outputs) text += "output " + output.name + "\n";
    taken = true;
  } catch (const trtserve::Error& error) {
    text = std::string(name(error.kind())) + ": " + error.what();
  }
  text.resize(std::min(text.size(), longest - 1));
  std::memcpy(report, text.c_str(), text.size() + 1);
  return taken;
}
