#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include <c10/util/StringUtil.h>

namespace trtserve {

/// The kind of an error; one table maps it to an HTTP status. No other kind crosses the seam.
enum class Kind {
  InvalidInput,
  NotFound,
  Conflict,
  TooLarge,
  QueueFull,
  Cancelled,
  ExecutionFailed,
  Unsupported,
  Unavailable,
  DeadlineExceeded,
};

inline constexpr std::array kAllKinds = {
    Kind::InvalidInput, Kind::NotFound,        Kind::Conflict,    Kind::TooLarge,    Kind::QueueFull,
    Kind::Cancelled,    Kind::ExecutionFailed, Kind::Unsupported, Kind::Unavailable, Kind::DeadlineExceeded};

std::string_view name(Kind kind);

/// A refusal or a failure; what() is a sentence for the person who reads it: what came, what is
/// allowed, what to do.
class Error : public std::runtime_error {
 public:
  /// `retry_after`: when a retry makes sense, if known.
  Error(Kind kind, const std::string& sentence, std::optional<std::chrono::nanoseconds> retry_after = std::nullopt)
      : std::runtime_error(sentence), kind_(kind), retry_after_(retry_after) {}
  Kind kind() const { return kind_; }
  std::optional<std::chrono::nanoseconds> retry_after() const { return retry_after_; }

 private:
  Kind kind_;
  std::optional<std::chrono::nanoseconds> retry_after_;
};

/// Throws an Error whose sentence joins the parts.
template <typename... Parts>
[[noreturn]] void fail(Kind kind, const Parts&... parts) {
  throw Error(kind, c10::str(parts...));
}

}  // namespace trtserve
