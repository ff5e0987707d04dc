#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "backends/openvino/onnx_file.h"
#include "core/error.h"

/// The reader of ONNX files alone, for tests that give it thousands of them. Writes what it says to `told`: a line for
/// each declared input and output, or the kind of its refusal and the sentence. True where it takes the file.
extern "C" bool onnx_reader_read(const char* bytes, size_t size, char* told, size_t longest) {
  // A copy of the exact size, so that a sanitizer sees each byte that is read beyond it.
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
  std::memcpy(told, text.c_str(), text.size() + 1);
  return taken;
}
