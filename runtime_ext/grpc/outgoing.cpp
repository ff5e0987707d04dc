#include "grpc/outgoing.h"

#include <algorithm>
#include <array>

#include "core/error.h"

namespace trtserve {

namespace {

constexpr size_t kCopied = 16'384;  // bytes; up to here a copy costs less than to keep a part

// Tags of length-delimited fields.
constexpr char kId = 3 << 3 | 2;                 // in a ModelInferResponse
constexpr char kRawOutputContents = 6 << 3 | 2;  // likewise
constexpr char kInferResponse = 2 << 3 | 2;      // in a ModelStreamInferResponse

/// A tag and a length, in front of that many bytes.
class Tag {
 public:
  Tag(char tag, size_t length) {
    bytes_[size_++] = tag;
    for (; length >= 0x80; length >>= 7) bytes_[size_++] = static_cast<char>(length | 0x80);
    bytes_[size_++] = static_cast<char>(length);
  }
  std::string_view bytes() const { return {bytes_.data(), size_}; }

 private:
  std::array<char, 11> bytes_{};
  size_t size_ = 0;
};

}  // namespace

void GrpcOutgoing::copy(std::string_view bytes) {
  if (parts_.empty() || parts_.back().owner) parts_.emplace_back();
  parts_.back().copied.append(bytes);
  size_ += bytes.size();
}

void GrpcOutgoing::keep(std::string_view bytes, std::shared_ptr<const void> owner) {
  if (bytes.size() <= kCopied || !owner) {
    copy(bytes);
    return;
  }
  parts_.push_back({.copied = {}, .kept = bytes, .owner = std::move(owner)});
  size_ += bytes.size();
}

void GrpcOutgoing::add_prefix() {
  std::string prefix(1, '\0');  // not compressed
  for (int shift = 24; shift >= 0; shift -= 8) prefix.push_back(static_cast<char>(size_ >> shift));
  if (parts_.empty() || parts_.front().owner) parts_.insert(parts_.begin(), Part{});
  parts_.front().copied.insert(0, prefix);
  size_ += prefix.size();
}

void GrpcOutgoing::send(size_t count, std::string& to) {
  count = std::min(count, left());
  sent_ += count;
  while (count > 0) {
    const auto bytes = parts_[part_].bytes().substr(in_part_);
    const size_t taken = std::min(count, bytes.size());
    to.append(bytes.substr(0, taken));
    count -= taken;
    in_part_ += taken;
    if (taken == bytes.size()) {
      parts_[part_++] = {};
      in_part_ = 0;
    }
  }
}

GrpcOutgoing infer_answer(std::string_view head, std::string_view id, const Completion& completion,
                          const std::vector<size_t>& indices, bool in_stream) {
  size_t size = head.size();
  if (!id.empty()) size += Tag(kId, id.size()).bytes().size() + id.size();
  for (const size_t index : indices) {
    if (index >= completion.outputs.size()) fail(Kind::InvalidInput, "the completion has no output ", index);
    const size_t bytes = completion.outputs[index].bytes;
    size += Tag(kRawOutputContents, bytes).bytes().size() + bytes;
  }
  GrpcOutgoing answer;
  if (in_stream) answer.copy(Tag(kInferResponse, size).bytes());
  answer.copy(head);
  if (!id.empty()) {
    answer.copy(Tag(kId, id.size()).bytes());
    answer.copy(id);
  }
  for (const size_t index : indices) {
    const auto& output = completion.outputs[index];
    answer.copy(Tag(kRawOutputContents, output.bytes).bytes());
    answer.keep({static_cast<const char*>(output.data), output.bytes}, completion.memory);
  }
  return answer;
}

}  // namespace trtserve
