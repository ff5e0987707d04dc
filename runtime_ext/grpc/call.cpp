#include "grpc/call.h"

#include <algorithm>

namespace trtserve {

namespace {

constexpr size_t kMostHeadBytes = 16'384;
constexpr size_t kOfAField = 32;  // how HTTP/2 counts a header besides its bytes
constexpr size_t kTimeoutDigits = 8;
constexpr int64_t kLongestNs = int64_t{1} << 62;

int64_t unit_ns(char unit) {
  switch (unit) {
    case 'H':
      return 3'600'000'000'000;
    case 'M':
      return 60'000'000'000;
    case 'S':
      return 1'000'000'000;
    case 'm':
      return 1'000'000;
    case 'u':
      return 1'000;
    case 'n':
      return 1;
    default:
      return 0;
  }
}

}  // namespace

bool GrpcHead::take(std::string_view name, std::string_view value, const GrpcTold& names) {
  bytes += name.size() + value.size() + kOfAField;
  if (bytes > kMostHeadBytes) return false;
  if (name == ":path") {
    path = value;
  } else if (name == ":method") {
    method = value;
  } else if (name == "content-type") {
    content_type = value;
  } else if (name == "grpc-encoding") {
    coding = value;
  } else if (name == "grpc-timeout") {
    timeout = value;
  } else if (name == "authorization") {
    authorization = authorization ? std::string() : std::string(value);
  } else if (const auto found = std::find(names.begin(), names.end(), name); found != names.end()) {
    auto& known = told.at(static_cast<size_t>(found - names.begin()));
    if (!known) known = value;
    tells = true;
  }
  return true;
}

std::optional<int64_t> grpc_timeout_ns(std::string_view text) {
  if (text.size() < 2 || text.size() > kTimeoutDigits + 1) return std::nullopt;
  const int64_t unit = unit_ns(text.back());
  text.remove_suffix(1);
  if (unit == 0 || !std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return std::nullopt;
  }
  int64_t number = 0;
  for (const char c : text) number = 10 * number + (c - '0');
  return number > kLongestNs / unit ? kLongestNs : number * unit;
}

}  // namespace trtserve
