#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

namespace trtserve {

/// An element of a BYTES tensor: bytes that another owns. torch has no strings, so a tensor in the core holds these in
/// the one datatype of torch that is as large and that no engine uses. So a batch of strings is joined and divided like
/// any other tensor.
///
/// Whoever makes such a tensor keeps the bytes: those of an input are the request's, those of an output belong to the
/// tensor. So one that comes from anywhere else (a module, or code of the process) must never be read as this.
struct ByteString {
  const char* data;
  uint64_t size;

  std::string_view view() const { return {data, size}; }
};

inline constexpr c10::ScalarType kBytes = c10::ScalarType::ComplexDouble;
static_assert(sizeof(ByteString) == 16);

/// The most elements of one BYTES input, of a request or of a batch: they are counted on the event loop.
inline constexpr size_t kMostByteStrings = 1 << 20;

/// Throws InvalidInput, naming the input, unless `data` is exactly `elements` elements in the protocol's binary form:
/// each is its length, an unsigned little-endian integer of 32 bits, and its bytes. `text`: they must be UTF-8.
void check_byte_strings(const std::string& input, std::string_view data, size_t elements, bool text);

/// Writes views of the elements of checked data at `to`, and returns its end.
ByteString* read_byte_strings(const char* data, size_t elements, ByteString* to);

/// A tensor of these elements, which keeps `owner`.
at::Tensor byte_strings(std::vector<ByteString> elements, c10::IntArrayRef shape, std::shared_ptr<const void> owner);

/// The bytes of an element in the binary form. ExecutionFailed if it is too long for that.
size_t byte_string_bytes(std::string_view element);

/// Writes an element in the binary form at `to`, which has room for it, and returns its end.
char* write_byte_string(std::string_view element, char* to);

/// The elements of a contiguous BYTES tensor in the binary form.
at::Tensor packed(const at::Tensor& strings);

}  // namespace trtserve
