#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace trtserve {

/// A part of a JSON document, in bytes from its start.
struct Span {
  size_t begin;
  size_t end;
};

/// Finds lists of numbers that are the values of a key "data" and have at least `least` characters; returns the first
/// `most`, in document order. Does not look inside: read_number_list() checks that each is a list of numbers. If all
/// are, the document is valid JSON exactly if it is valid with any JSON values substituted for them. Linear in the
/// document's length.
std::vector<Span> find_number_lists(std::string_view document, size_t least, size_t most);

/// Finds strings, without their quotes, of at least `least` characters that are all printable ASCII and not escaped,
/// such as a base64 file. The document is valid JSON exactly if it is valid with other strings substituted for them.
/// Linear in the document's length.
std::vector<Span> find_plain_strings(std::string_view document, size_t least);

/// True for printable ASCII other than a backslash, which begins an escape.
inline bool is_plain(char c) { return c >= ' ' && c <= '~' && c != '\\'; }

/// The position of the value whose key begins, with its quote, at `at`, and has `size` characters with both quotes; the
/// document's size if the key is none, or has no value.
size_t value_of(std::string_view document, size_t at, size_t size);

/// The first position at or after `at` that is not JSON white space.
inline size_t skip_blanks(std::string_view text, size_t at) {
  while (at < text.size() && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t')) ++at;
  return at;
}

}  // namespace trtserve
