#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <c10/util/SmallVector.h>

namespace trtserve {

/// A message that a client sent on a call, without its five-byte prefix. Its memory is its own, and does not move once
/// the message is whole. Filled by one thread, and immutable afterwards.
class GrpcMessage {
 public:
  /// `size`: in bytes, as the prefix announces it. Takes memory as the bytes arrive.
  GrpcMessage(size_t size, bool compressed) : size_(size), compressed_(compressed) {}

  /// Appends as much of the front of `bytes` as belongs to the message, and removes it there.
  void take(std::string_view& bytes);

  bool whole() const { return received_ == size_; }
  size_t size() const { return size_; }
  size_t received() const { return received_; }
  bool compressed() const { return compressed_; }
  std::string_view bytes() const { return {begin_, received_}; }

  /// Finds the parts of a whole, uncompressed ModelInferRequest that differ between requests which are otherwise alike.
  /// Leaves key() empty if the request is unusual in any way: it must then be read as a whole.
  void cut();

  /// All fields but the id and the raw contents, and the sizes of the latter: requests with the same key differ only in
  /// their id and data. Empty: not cut.
  const std::string& key() const { return key_; }
  std::string_view id() const { return id_; }
  const c10::SmallVector<std::string_view, 2>& raw() const { return raw_; }

 private:
  void grow();
  bool cut_fields();

  const size_t size_;
  const bool compressed_;
  size_t received_ = 0;
  size_t capacity_ = 0;
  std::unique_ptr<char[]> memory_;
  char* begin_ = nullptr;  // in memory_
  std::string key_;
  std::string_view id_;
  c10::SmallVector<std::string_view, 2> raw_;
};

}  // namespace trtserve
