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

/// Where the lists of numbers lie that are the values of a key "data" and have at least so many characters, in the
/// order of the document, and at most so many of them. What lies there is not looked at: read_number_list() finds out
/// whether it is a list of numbers. If each is, then the document is JSON if and only if it is with any JSON value in
/// place of them. Takes a time linear in the document's length.
std::vector<Span> find_number_lists(std::string_view document, size_t least, size_t most);

/// Where the strings lie, without their quotes, that have at least so many characters, all of them printable ASCII and
/// none of them escaped: as a file in base64 is. The document is JSON if and only if it is with others in place of
/// them. Takes a time linear in the document's length.
std::vector<Span> find_plain_strings(std::string_view document, size_t least);

/// The first place from `at` on where there is none of JSON's white space.
inline size_t skip_blanks(std::string_view text, size_t at) {
  while (at < text.size() && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t')) ++at;
  return at;
}

}  // namespace trtserve
