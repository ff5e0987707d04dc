#include "core/byte_strings.h"

#include <algorithm>
#include <limits>

#include <ATen/Functions.h>

#include "core/error.h"
#include "core/utf8.h"

namespace trtserve {

namespace {

constexpr size_t kLengthBytes = 4;

constexpr size_t kLongest = std::numeric_limits<uint32_t>::max();

/// `data` has at least kLengthBytes.
size_t length_at(std::string_view data) {
  size_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length |= static_cast<size_t>(static_cast<unsigned char>(data[i])) << 8 * i;
  return length;
}

}  // namespace

void check_byte_strings(const std::string& input, std::string_view data, size_t elements, bool text) {
  for (size_t i = 0; i < elements; ++i) {
    if (data.empty()) fail(Kind::InvalidInput, "input '", input, "' has ", i, " strings; its shape takes ", elements);
    if (data.size() < kLengthBytes) {
      fail(Kind::InvalidInput, "input '", input, "': element ", i, " has ", data.size(), " of the ", kLengthBytes,
           " bytes of its length");
    }
    const size_t length = length_at(data);
    data.remove_prefix(kLengthBytes);
    if (length > data.size()) {
      fail(Kind::InvalidInput, "input '", input, "': element ", i, " is ", length, " bytes long, and ", data.size(),
           " are left");
    }
    if (text && !is_utf8(data.substr(0, length))) {
      fail(Kind::InvalidInput, "input '", input, "': element ", i, " is not UTF-8; the engine takes text");
    }
    data.remove_prefix(length);
  }
  if (!data.empty()) {
    fail(Kind::InvalidInput, "input '", input, "' has more than ", elements, " strings, as many as its shape takes");
  }
}

ByteString* read_byte_strings(const char* data, size_t elements, ByteString* to) {
  for (size_t i = 0; i < elements; ++i) {
    const size_t length = length_at({data, kLengthBytes});
    data += kLengthBytes;
    *to++ = {data, length};
    data += length;
  }
  return to;
}

at::Tensor byte_strings(std::vector<ByteString> elements, c10::IntArrayRef shape, std::shared_ptr<const void> owner) {
  struct Kept {
    std::vector<ByteString> elements;
    std::shared_ptr<const void> owner;
  };
  const auto kept = std::make_shared<Kept>(Kept{std::move(elements), std::move(owner)});
  const auto options = at::TensorOptions().dtype(kBytes);
  if (kept->elements.empty()) return at::empty(shape, options);
  return at::from_blob(kept->elements.data(), shape, [kept](void* /*elements*/) {}, options);
}

size_t byte_string_bytes(std::string_view element) {
  if (element.size() > kLongest) {
    fail(Kind::ExecutionFailed, "an output has an element of ", element.size(), " bytes, over 4 GiB");
  }
  return kLengthBytes + element.size();
}

char* write_byte_string(std::string_view element, char* to) {
  for (size_t i = 0; i < kLengthBytes; ++i) *to++ = static_cast<char>(element.size() >> 8 * i & 0xFF);
  return std::copy(element.begin(), element.end(), to);
}

at::Tensor packed(const at::Tensor& strings) {
  const auto* elements = static_cast<const ByteString*>(strings.const_data_ptr());
  const auto count = static_cast<size_t>(strings.numel());
  size_t bytes = 0;
  for (size_t i = 0; i < count; ++i) bytes += byte_string_bytes(elements[i].view());
  at::Tensor data = at::empty({static_cast<int64_t>(bytes)}, at::TensorOptions().dtype(at::kByte));
  auto* to = static_cast<char*>(data.mutable_data_ptr());
  for (size_t i = 0; i < count; ++i) to = write_byte_string(elements[i].view(), to);
  return data;
}

}  // namespace trtserve
