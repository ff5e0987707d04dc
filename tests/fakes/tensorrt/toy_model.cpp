#include "toy_model.h"

#include <cstring>
#include <functional>
#include <sstream>

namespace trtserve::fake::trt {

namespace {

constexpr std::string_view kBegin = "toy plan <<<";
constexpr std::string_view kEnd = ">>>";
constexpr size_t kSizeAt = 8;

std::string rest_of(std::istringstream& words) {
  std::string text;
  std::getline(words >> std::ws, text);
  return text;
}

/// False if the line is not one of those that only parser and builder read.
bool read_build_line(ToyModel& model, const std::string& line) {
  std::istringstream words(line);
  std::string key;
  words >> key;
  if (key == "operator") {
    RefusedNode node;
    std::string word;
    words >> node.operation >> word >> node.name;
    node.reason = rest_of(words);
    model.refused.push_back(node);
  } else if (key == "build_phases") {
    words >> model.phases;
  } else if (key == "build_gate") {
    words >> model.gate;
  } else if (key == "build_fail") {
    model.failure = rest_of(words);
  } else if (key == "build_no_memory") {
    model.no_memory = true;
  } else if (key == "build_crash") {
    model.crashes = true;
  } else {
    return key == "profile" || key == "range" || key == "values";  // left out
  }
  return true;
}

void write_range(std::ostringstream& text, const char* key, const std::string& input, const Range& range) {
  text << key << ' ' << input;
  for (size_t part = 0; part < range.size(); ++part) {
    if (part > 0) text << " /";
    for (const int64_t number : range[part]) text << ' ' << number;
  }
  text << '\n';
}

}  // namespace

std::optional<ToyModel> read_model(std::string_view file) {
  const size_t begin = file.find(kBegin);
  const size_t end = begin == std::string_view::npos ? begin : file.find(kEnd, begin);
  if (end == std::string_view::npos) return std::nullopt;
  ToyModel model;
  std::istringstream text(std::string(file.substr(begin + kBegin.size(), end - begin - kBegin.size())));
  for (std::string line; std::getline(text >> std::ws, line);) {
    if (read_build_line(model, line)) continue;
    read_line(model.plan, line);
    model.lines.push_back(line);
  }
  return model;
}

std::string make_plan(const ToyModel& model, const std::vector<Profile>& profiles) {
  std::ostringstream text;
  for (const auto& line : model.lines) text << line << '\n';
  for (const auto& profile : profiles) {
    text << "profile\n";
    for (const auto& [input, range] : profile.dims) write_range(text, "range", input, range);
    for (const auto& [input, range] : profile.values) write_range(text, "values", input, range);
  }
  std::string header(kHeaderBytes, '\0');
  const std::string body = text.str();
  const uint64_t size = header.size() + body.size();
  std::memcpy(header.data(), kPlanMagic, 4);
  std::memcpy(header.data() + kSizeAt, &size, sizeof(size));
  header[kVersionAt[0]] = NV_TENSORRT_MAJOR;
  header[kVersionAt[1]] = NV_TENSORRT_MINOR;
  header[kVersionAt[2]] = NV_TENSORRT_PATCH;
  header[kVersionAt[3]] = static_cast<char>(NV_TENSORRT_BUILD);
  return header + body;
}

}  // namespace trtserve::fake::trt
