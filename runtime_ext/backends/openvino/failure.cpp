#include "backends/openvino/failure.h"

#include <algorithm>
#include <array>
#include <new>
#include <regex>
#include <sstream>

#include <openvino/runtime/exception.hpp>

#include "backends/openvino/guard.h"

namespace trtserve::openvino {

namespace {

bool has_any(const std::string& text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [&](auto word) { return text.find(word) != std::string::npos; });
}

bool wants_memory(const std::exception& error) {
  return dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
         has_any(error.what(), {"bad_alloc", "ailed to allocate", "annot allocate", "out of memory", "ut of memory",
                                "not enough memory", "could not create a memory"});
}

/// The plugin checks shapes in many places, with different words, and throws the same type everywhere.
bool speaks_of_inputs(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return has_any(text, {"while validating node", "shape infer", "shape_infer", "mismatch", "incompatible", "consistent",
                        "broadcast", "dimension", " dim", "rank", "out of range", "out of bound", "must be",
                        "should be", "match", "memsize"});
}

}  // namespace

std::string core_of(const std::exception& error) {
  static const std::regex validated(R"(While validating node '[^']*' with friendly_name '([^']*)':?)");
  static const std::regex checked(R"(Check '.*' failed at [^ ]*:\d+:?)");
  static const std::regex thrown(R"(Exception from [^ ]*:\d+:?)");
  static const std::regex in_plugin(R"(\[CPU\] (\w+) node with name '([^']*)')");
  static const std::regex place(R"([\w./-]*/[\w.-]+\.[ch]pp(:\d+)?:?)");
  static const std::regex scoped(R"((\w+::)+\w+)");
  std::istringstream lines(error.what());
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    line = std::regex_replace(line, validated, "node '$1':");
    line = std::regex_replace(line, checked, "");
    line = std::regex_replace(line, thrown, "");
    line = std::regex_replace(line, in_plugin, "node '$2' ($1):");
    line = std::regex_replace(line, place, "");
    line = std::regex_replace(line, scoped, "OpenVINO");
    const auto begin = line.find_first_not_of(" \t\r");
    if (begin == std::string::npos) continue;
    line = line.substr(begin, line.find_last_not_of(" \t\r") - begin + 1);
    if (text.find(line) != std::string::npos) continue;  // OpenVINO names the node twice
    if (!text.empty()) text += ' ';
    text += line;
  }
  while (!text.empty() && (text.back() == '.' || text.back() == ' ' || text.back() == ':')) text.pop_back();
  return text.empty() ? "OpenVINO gives no reason" : text;
}

std::string listed(const std::vector<TensorSpec>& specs, c10::ArrayRef<at::Tensor> inputs) {
  std::string text;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (i > 0) text += i + 1 == inputs.size() ? " and " : ", ";
    text += c10::str("'", specs[i].name, "' of shape ", format_shape(inputs[i].sizes()));
  }
  return text;
}

Error refused_shapes(const std::vector<TensorSpec>& specs, c10::ArrayRef<at::Tensor> inputs,
                     const std::string& reason) {
  const char* together = inputs.size() > 1 ? " together: " : ": ";
  return {Kind::InvalidInput, c10::str("the model cannot take ", listed(specs, inputs), together, reason)};
}

Error failure(const std::exception& error, const std::vector<TensorSpec>& specs, c10::ArrayRef<at::Tensor> inputs) {
  if (auto refused = refusal(error)) return *refused;
  if (dynamic_cast<const ov::Cancelled*>(&error) != nullptr) return {Kind::Cancelled, "the execution was stopped"};
  if (wants_memory(error)) {
    return {Kind::Unavailable, c10::str("there is not enough memory to run the model on ", listed(specs, inputs))};
  }
  if (speaks_of_inputs(error.what())) return refused_shapes(specs, inputs, core_of(error));
  return {Kind::ExecutionFailed, c10::str("OpenVINO could not run the model: ", core_of(error))};
}

}  // namespace trtserve::openvino
