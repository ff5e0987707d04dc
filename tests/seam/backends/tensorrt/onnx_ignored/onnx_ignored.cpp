#include "backends/tensorrt/onnx_ignored.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"

/// The check of what TensorRT 8's parser would ignore alone: the fake of TensorRT 8 builds no plans. Writes the kind
/// and sentence of its refusal to `report`, or nothing.
extern "C" void onnx_ignored_check(const char* bytes, size_t size, char* report, size_t longest) {
  // A copy of the exact size, so that a sanitizer detects reads beyond it.
  const std::vector<char> copy(bytes, bytes + size);
  std::string text;
  try {
    trtserve::tensorrt::check_nothing_is_ignored({copy.data(), copy.size()}, "8.5.3");
  } catch (const trtserve::Error& error) {
    text = std::string(name(error.kind())) + ": " + error.what();
  }
  text.resize(std::min(text.size(), longest - 1));
  std::memcpy(report, text.c_str(), text.size() + 1);
}
