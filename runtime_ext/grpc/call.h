#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "grpc/message.h"
#include "grpc/outgoing.h"

namespace trtserve {

/// Names of headers, in lower case, whose values the server is told: at most kMostTold.
using GrpcTold = std::vector<std::string>;

/// What the head of a call says.
struct GrpcHead {
  static constexpr size_t kMostTold = 4;

  std::string path;
  std::string method;
  std::string content_type;
  std::string coding;                        // of its compressed messages
  std::string timeout;                       // as sent
  std::optional<std::string> authorization;  // empty if there are several
  // Of the headers that are told, by their places among the names; the first, if there are several.
  std::array<std::optional<std::string>, kMostTold> told;
  bool tells = false;  // it has one of these
  size_t bytes = 0;    // of all names and values, as HTTP/2 counts them

  /// Takes one header; false if the head is longer than a head may be.
  bool take(std::string_view name, std::string_view value, const GrpcTold& names);
};

/// The nanoseconds of a grpc-timeout such as "100m"; none if it is not one.
std::optional<int64_t> grpc_timeout_ns(std::string_view text);

/// One call of a connection: what has come, and what is to be sent. Belongs to its session.
struct GrpcCall {
  explicit GrpcCall(int32_t stream) : id(stream) {}

  const int32_t id;
  GrpcHead head;
  bool infer = false;   // a ModelInfer: its first event is its message
  bool infers = false;  // that, or a ModelStreamInfer: its messages are cut
  std::optional<int64_t> deadline_ns;

  // in
  bool headed = false;                   // its head is complete
  bool told = false;                     // an event has named it
  bool reads = true;                     // false: further bytes are dropped
  bool half_closed = false;              // the client sends no more
  uint64_t received = 0;                 // bytes
  size_t in_progress = 0;                // messages that were passed on, less those sent
  std::array<char, 5> prefix{};          // of the next message
  size_t prefix_size = 0;                // bytes of it that have come
  std::shared_ptr<GrpcMessage> message;  // that is being received
  size_t skipping = 0;                   // bytes to drop of a message that is not wanted
  std::string waiting;                   // bytes to be read once fewer messages are in progress

  // out
  std::deque<GrpcOutgoing> out;      // each with its prefix
  std::optional<GrpcStatus> status;  // set: nothing more is added
  bool responding = false;           // its headers have been submitted
  bool deferred = false;             // nothing was left to send

  /// Bytes that are kept of messages which are not whole.
  size_t held() const { return waiting.size() + (message ? message->received() : 0); }
  /// True while the server waits for bytes of a message that has begun, or that must come.
  bool expects() const {
    return reads && !half_closed && waiting.empty() && (message || skipping > 0 || prefix_size > 0 || infer);
  }
};

}  // namespace trtserve
