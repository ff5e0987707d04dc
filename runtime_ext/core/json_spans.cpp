#include "core/json_spans.h"

#include <algorithm>

namespace trtserve {

namespace {

constexpr std::string_view kKey = "\"data\"";

/// True if as many brackets close as open: otherwise a list goes on behind this text.
bool is_balanced(std::string_view list) {
  if (list.find('[', 1) == std::string_view::npos) return true;  // it ends with the bracket that closes the first
  return std::count(list.begin(), list.end(), '[') == std::count(list.begin(), list.end(), ']');
}

/// The position of the closing quote of the string whose first character is at `at`.
size_t end_of_string(std::string_view document, size_t at) {
  while (true) {
    const size_t quote = document.find('"', at);
    if (quote == std::string_view::npos) return quote;
    const size_t escape = document.substr(at, quote - at).find('\\');
    if (escape == std::string_view::npos) return quote;
    at += escape + 2;  // after the escaped character
    if (at > document.size()) return std::string_view::npos;
  }
}

}  // namespace

size_t value_of(std::string_view document, size_t at, size_t size) {
  // A quote after a backslash does not begin a string.
  if (at > 0 && document[at - 1] == '\\') return document.size();
  const size_t colon = skip_blanks(document, at + size);
  if (colon == document.size() || document[colon] != ':') return document.size();
  return skip_blanks(document, colon + 1);
}

std::vector<Span> find_number_lists(std::string_view document, size_t least, size_t most) {
  std::vector<Span> lists;
  size_t at = 0;
  size_t brace = 0;  // the first at or after `at`, once found
  while (lists.size() < most && (at = document.find(kKey, at)) != std::string_view::npos) {
    const size_t begin = value_of(document, at, kKey.size());
    at += kKey.size();
    if (begin == document.size() || document[begin] != '[') continue;
    // A list of numbers contains no string or object; after it, its own object continues with a string or ends.
    if (brace < begin) brace = std::min(document.find('}', begin), document.size());
    std::string_view list = document.substr(begin, brace - begin);
    list = list.substr(0, list.find('"'));
    at = begin + list.size();
    const size_t last = list.rfind(']');
    if (last != std::string_view::npos && last + 1 >= least && list.find('{') == std::string_view::npos &&
        is_balanced(list.substr(0, last + 1))) {
      lists.push_back({begin, begin + last + 1});
    }
  }
  return lists;
}

std::vector<Span> find_plain_strings(std::string_view document, size_t least) {
  std::vector<Span> strings;
  size_t begin = 0;
  while ((begin = document.find('"', begin)) != std::string_view::npos) {
    ++begin;
    const size_t end = end_of_string(document, begin);
    if (end == std::string_view::npos) break;
    if (end - begin >= least && std::all_of(document.begin() + static_cast<ptrdiff_t>(begin),
                                            document.begin() + static_cast<ptrdiff_t>(end), is_plain)) {
      strings.push_back({begin, end});
    }
    begin = end + 1;
  }
  return strings;
}

}  // namespace trtserve
