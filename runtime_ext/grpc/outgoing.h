#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <c10/util/SmallVector.h>

#include "core/request.h"

namespace trtserve {

/// A message on its way to a client: short parts are copied, long ones stay where they are until they are sent. Not
/// thread safe.
class GrpcOutgoing {
 public:
  /// Adds a copy of `bytes`.
  void copy(std::string_view bytes);
  /// Adds `bytes`, which `owner` keeps; short ones are copied.
  void keep(std::string_view bytes, std::shared_ptr<const void> owner);

  /// Puts the prefix that announces a message in front of all parts. Call once, after the last part.
  void add_prefix();

  size_t size() const { return size_; }
  bool sent() const { return sent_ == size_; }
  size_t left() const { return size_ - sent_; }

  /// Appends the next `count` bytes, of those left, to `to`.
  void send(size_t count, std::string& to);

 private:
  struct Part {
    std::string copied;
    std::string_view kept;
    std::shared_ptr<const void> owner;
    std::string_view bytes() const { return owner ? kept : std::string_view(copied); }
  };
  c10::SmallVector<Part, 1> parts_;
  size_t size_ = 0;
  size_t sent_ = 0;
  size_t part_ = 0;     // the part to send next
  size_t in_part_ = 0;  // bytes of it that were sent
};

/// The answer to an inference. `head`: the fields of a ModelInferResponse but its id and its raw contents, which are
/// the outputs at `indices`. `in_stream`: within a ModelStreamInferResponse. InvalidInput if an output does not exist.
GrpcOutgoing infer_answer(std::string_view head, std::string_view id, const Completion& completion,
                          const std::vector<size_t>& indices, bool in_stream);

/// How a call ends. Source: gRPC's "PROTOCOL-HTTP2".
struct GrpcStatus {
  int code = 0;
  std::string sentence;                                       // UTF-8
  std::vector<std::pair<std::string, std::string>> metadata;  // ASCII
};

}  // namespace trtserve
