#pragma once

#include <array>
#include <stdexcept>
#include <string>
#include <string_view>

#include <c10/util/StringUtil.h>

namespace trtserve {

/// What went wrong, for the one table that maps it to an HTTP status. Nothing else crosses the seam.
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
  Error(Kind kind, const std::string& sentence) : std::runtime_error(sentence), kind_(kind) {}
  Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

/// Throws an Error whose sentence is the parts joined.
template <typename... Parts>
[[noreturn]] void fail(Kind kind, const Parts&... parts) {
  throw Error(kind, c10::str(parts...));
}

}  // namespace trtserve
