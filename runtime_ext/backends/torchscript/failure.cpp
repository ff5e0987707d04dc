#include "backends/torchscript/failure.h"

#include <cctype>
#include <sstream>
#include <string_view>

#include "core/device_health.h"

namespace trtserve::torchscript {

namespace {

constexpr size_t kMostCharacters = 500;

/// The text after "RuntimeError: " or the like: the interpreter ends its traces with such a line. Empty if the line is
/// another one.
std::string after_exception_name(const std::string& line) {
  const size_t colon = line.find(": ");
  if (colon == std::string::npos || colon == 0) return "";
  for (const char c : std::string_view(line).substr(0, colon)) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_' && c != '.') return "";
  }
  const std::string name = line.substr(0, colon);
  const bool ends = name.ends_with("Error") || name.ends_with("Exception");
  return ends ? line.substr(colon + 2) : "";
}

}  // namespace

std::string first_reason(const std::exception& error) {
  const std::string text = reason_of(error);
  std::istringstream lines(text);
  std::string first;
  std::string named;
  for (std::string line; std::getline(lines, line);) {
    if (first.empty()) first = line;
    if (auto reason = after_exception_name(line); !reason.empty()) named = std::move(reason);
  }
  std::string reason = named.empty() ? first : named;
  if (reason.size() > kMostCharacters) reason.resize(kMostCharacters);
  while (!reason.empty() && (reason.back() == '.' || reason.back() == ' ')) reason.pop_back();
  return reason.empty() ? "it gave no reason" : reason;
}

}  // namespace trtserve::torchscript
