#include "grpc/message.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/protobuf.h"

namespace trtserve {

namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kFirstTaken = 262'144;  // bytes; a longer message takes more memory when these have arrived
constexpr size_t kGrowth = 4;

// What a key may have; a request with more of it is rare, and is read as a whole.
constexpr size_t kMostKeyBytes = 4096;
constexpr size_t kMostRaw = 16;

// Field numbers of ModelInferRequest, and of its inputs.
constexpr uint32_t kId = 3;
constexpr uint32_t kInputs = 5;
constexpr uint32_t kRawInputContents = 7;
constexpr uint32_t kContents = 5;

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

bool has_contents(std::string_view input) {
  for (Fields fields(input); fields.next();) {
    if (fields.field().number == kContents) return true;
  }
  return false;
}

}  // namespace

void GrpcMessage::take(std::string_view& bytes) {
  const size_t taken = std::min(bytes.size(), size_ - received_);
  while (received_ + taken > capacity_) grow();
  if (taken > 0) std::memcpy(begin_ + received_, bytes.data(), taken);
  received_ += taken;
  bytes.remove_prefix(taken);
}

void GrpcMessage::grow() {
  const size_t capacity = std::min(size_, std::max(kFirstTaken, kGrowth * capacity_));
  auto memory = std::make_unique_for_overwrite<char[]>(capacity + kAlignment);
  // The end is aligned, because most requests end with their last tensor, and its size is a multiple.
  const size_t past = (reinterpret_cast<uintptr_t>(memory.get()) + size_) % kAlignment;
  char* const begin = memory.get() + (past == 0 ? 0 : kAlignment - past);
  if (received_ > 0) std::memcpy(begin, begin_, received_);
  memory_ = std::move(memory);
  begin_ = begin;
  capacity_ = capacity;
}

void GrpcMessage::cut() {
  bool usual = false;
  try {
    usual = cut_fields();
  } catch (const Error&) {
    usual = false;  // not protobuf: whoever reads it as a whole refuses it
  }
  if (!usual) {
    key_.clear();
    raw_.clear();
    id_ = {};
  }
}

bool GrpcMessage::cut_fields() {
  const auto message = bytes();
  auto rest = message;  // from the current field on
  size_t kept = 0;      // where the next part of the key begins
  const auto keep = [&](size_t end) {
    if (key_.size() + (end - kept) > kMostKeyBytes) return false;
    key_.append(message.substr(kept, end - kept));
    return true;
  };
  while (!rest.empty()) {
    const size_t begin = message.size() - rest.size();
    Fields fields(rest);
    fields.next();
    const auto& field = fields.field();
    const auto end = fields.rest().data() - message.data();
    rest = fields.rest();
    if (field.number == kRawInputContents || field.number == kId) {
      if (field.type != WireType::Bytes || !keep(begin)) return false;
      kept = static_cast<size_t>(end);
      if (field.number == kId) {
        id_ = field.bytes;
      } else {
        raw_.push_back(field.bytes);
      }
    } else if (field.number == kInputs && (field.type != WireType::Bytes || has_contents(field.bytes))) {
      return false;
    }
  }
  if (raw_.empty() || raw_.size() > kMostRaw || !is_ascii(id_) || !keep(message.size())) return false;
  for (const auto& each : raw_) {
    const uint64_t size = each.size();
    key_.append(reinterpret_cast<const char*>(&size), sizeof(size));
  }
  key_.push_back(static_cast<char>(raw_.size()));
  return true;
}

}  // namespace trtserve
