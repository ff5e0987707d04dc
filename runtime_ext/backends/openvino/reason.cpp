#include "backends/openvino/reason.h"

#include <algorithm>
#include <array>
#include <new>

#include "backends/openvino/shown.h"

namespace trtserve::openvino {

namespace {

constexpr size_t kLongest = 500;

/// Lines with these beginnings frame the error without describing it.
constexpr std::array<std::string_view, 9> kFrames = {
    "FrontEnd API failed with",
    "Model wasn't fully converted",
    "Summary:",
    "-- Conversion is failed for",
    "Loading input model",
    "To facilitate the conversion",
    "Converting input model",
    "Failed operations detailed log",
    "Unexpected exception",
};

/// Words that help only readers of the source code.
constexpr std::array<std::string_view, 15> kInternals = {
    "std::", "ov::",     "vector::", "_M_",  "basic_string", "bad_",         "nullptr", "stol",
    "stoi",  "Any was ", ".cpp",     ".hpp", "dynamic_cast", "Bad any cast", "::",
};

constexpr std::array<std::string_view, 4> kNoMemory = {"bad_alloc", "bad allocation", "ailed to allocate",
                                                       "annot allocate memory"};

template <size_t N>
bool has_any(std::string_view text, const std::array<std::string_view, N>& parts) {
  return std::any_of(parts.begin(), parts.end(), [&](auto part) { return text.find(part) != std::string_view::npos; });
}

/// Removes `begin` and everything up to the next "<file>:<line>:" from `text`, or up to the end if there is none.
std::string without_place(std::string text, std::string_view begin) {
  for (size_t from = text.find(begin); from != std::string::npos; from = text.find(begin, from)) {
    size_t to = text.find("pp:", from);  // of ".cpp:" and ".hpp:"
    if (to != std::string::npos) to = text.find(':', to + 3);
    text.erase(from, to == std::string::npos ? to : to + 1 - from);
  }
  return text;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n;.";
  const auto begin = text.find_first_not_of(" \t\r\n;");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) + 1 - begin);
}

/// A line without internals; empty if nothing else remains.
std::string plain_line(std::string_view line) {
  std::string text(line);
  text = without_place(std::move(text), "Check '");
  text = without_place(std::move(text), "Exception from ");
  text.erase(std::min(text.find("While validating node"), text.size()));
  text.erase(std::min(text.find("[ONNX Frontend]"), text.size()));
  const auto plain_text = trimmed(text);
  const bool frame = std::any_of(kFrames.begin(), kFrames.end(),
                                 [&](auto frame) { return plain_text.substr(0, frame.size()) == frame; });
  return frame || has_any(plain_text, kInternals) ? "" : std::string(plain_text);
}

}  // namespace

std::string plain(std::string_view text) {
  std::string plain;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = plain_line(text.substr(0, end));
    if (!line.empty()) plain += (plain.empty() ? "" : "; ") + line;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return shown(plain, kLongest);
}

bool says_no_memory(std::string_view text) { return has_any(text, kNoMemory); }

std::string reason(const std::exception& error) {
  const std::string_view text = error.what();
  if (says_no_memory(text)) throw std::bad_alloc();
  const auto message = plain(text);
  return message.empty() ? "it gives no reason" : message;
}

}  // namespace trtserve::openvino
