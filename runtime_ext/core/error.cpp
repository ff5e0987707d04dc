#include "core/error.h"

namespace trtserve {

std::string_view name(Kind kind) {
  switch (kind) {
    case Kind::InvalidInput:
      return "InvalidInput";
    case Kind::NotFound:
      return "NotFound";
    case Kind::Conflict:
      return "Conflict";
    case Kind::TooLarge:
      return "TooLarge";
    case Kind::QueueFull:
      return "QueueFull";
    case Kind::Cancelled:
      return "Cancelled";
    case Kind::ExecutionFailed:
      return "ExecutionFailed";
    case Kind::Unsupported:
      return "Unsupported";
    case Kind::Unavailable:
      return "Unavailable";
    case Kind::DeadlineExceeded:
      return "DeadlineExceeded";
  }
  return "ExecutionFailed";
}

}  // namespace trtserve
