#include "core/head_reader.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace trtserve {

namespace {

constexpr std::string_view kMethod = "POST ";
constexpr std::string_view kVersion = " HTTP/1.1\r\n";
constexpr std::string_view kLineEnd = "\r\n";
constexpr size_t kMostDigits = 18;  // any number of so many digits fits 64 bits

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

using Class = std::array<bool, 256>;

constexpr Class letters_digits_and(std::string_view others) {
  Class found{};
  for (size_t c = 0; c < found.size(); ++c) {
    const char l = lower(static_cast<char>(c));
    found[c] = is_digit(l) || (l >= 'a' && l <= 'z');
  }
  for (const char c : others) found[static_cast<unsigned char>(c)] = true;
  return found;
}

/// Of a path: RFC 3986, section 3.3, `pchar` and the slash.
constexpr Class kPath = letters_digits_and("-._~!$&'()*+,;=:@%/");
/// Of a header's name: RFC 9110, section 5.6.2, `tchar`.
constexpr Class kToken = letters_digits_and("!#$%&'*+-.^_`|~");

/// Of a header's value: RFC 9110, section 5.5, `field-vchar`, and white space.
constexpr Class values() {
  Class found{};
  for (size_t c = ' '; c < found.size(); ++c) found[c] = c != 0x7F;
  found['\t'] = true;
  return found;
}
constexpr Class kValue = values();

bool is(const Class& allowed, char c) { return allowed[static_cast<unsigned char>(c)]; }

/// The first position at or after `at` whose character is not in the class.
size_t end_of(const Class& allowed, std::string_view text, size_t at) {
  while (at < text.size() && is(allowed, text[at])) ++at;
  return at;
}

bool same_name(std::string_view lower_case, std::string_view any_case) {
  return std::equal(lower_case.begin(), lower_case.end(), any_case.begin(),
                    [](char a, char b) { return a == lower(b); });
}

std::string_view without_white_space(std::string_view value) {
  value.remove_prefix(std::min(value.find_first_not_of(" \t"), value.size()));
  return value.substr(0, value.find_last_not_of(" \t") + 1);
}

/// A whole number without a sign and without needless zeros; -1: it is something else.
int64_t number_of(std::string_view value) {
  const size_t begin = std::min(value.find_first_not_of(" \t"), value.size());
  value.remove_prefix(begin);
  if (value.empty() || value.size() > kMostDigits || (value.size() > 1 && value[0] == '0')) return -1;
  int64_t number = 0;
  for (const char c : value) {
    if (!is_digit(c)) return -1;
    number = 10 * number + (c - '0');
  }
  return number;
}

/// Adds `text` to the key; false if there is no room for it and for `reserved` bytes: for the empty line at the end.
bool append(ReadHead& head, std::string_view text, size_t reserved = kLineEnd.size()) {
  if (text.size() > head.key.size() - reserved - head.key_bytes) return false;
  std::memcpy(head.key.data() + head.key_bytes, text.data(), text.size());
  head.key_bytes += text.size();
  return true;
}

}  // namespace

HeadReader::HeadReader(const std::vector<std::string>& kept, const std::array<std::string, ReadHead::kNumbers>& numbers,
                       const std::vector<std::string>& refused, const std::string& apart,
                       const std::vector<std::string>& told, const std::map<std::string, std::string>& quiet) {
  for (const auto& name : kept) add(name, Use::Keep);
  for (size_t number = 0; number < numbers.size(); ++number) add(numbers.at(number), Use::Number, number);
  for (const auto& name : refused) add(name, Use::Refuse);
  if (!apart.empty()) add(apart, Use::Apart);
  if (told.size() > ReadHead::kMostTold) {
    fail(Kind::InvalidInput, "there are more than ", ReadHead::kMostTold, " names of headers to tell");
  }
  for (size_t number = 0; number < told.size(); ++number) add(told[number], Use::Tell, number);
  for (const auto& [name, end] : quiet) {
    auto& names = names_.at(std::min(name.size(), kLongestName));
    const auto is_told = [&name = name](const Name& each) { return each.use == Use::Tell && each.text == name; };
    const auto known = std::find_if(names.begin(), names.end(), is_told);
    if (known == names.end()) fail(Kind::InvalidInput, "\"", name, "\" is not the name of a header that is told");
    known->quiet = end;
  }
}

void HeadReader::add(const std::string& name, Use use, size_t number) {
  const bool token = !name.empty() && name.size() <= kLongestName && end_of(kToken, name, 0) == name.size();
  const bool lower_case = std::all_of(name.begin(), name.end(), [](char c) { return c == lower(c); });
  if (!token || !lower_case || find(name) != nullptr) {
    fail(Kind::InvalidInput, "\"", name, "\" is not the name of a header in lower case, or is given twice");
  }
  names_.at(name.size()).push_back({name, use, number});
}

const HeadReader::Name* HeadReader::find(std::string_view name) const {
  if (name.size() > kLongestName) return nullptr;
  for (const auto& known : names_[name.size()]) {
    if (same_name(known.text, name)) return &known;
  }
  return nullptr;
}

bool HeadReader::take_header(std::string_view name, std::string_view value, ReadHead& head) const {
  const Name* known = find(name);
  if (known == nullptr) return true;
  switch (known->use) {
    case Use::Refuse:
      return false;
    case Use::Apart:
      if (head.apart) return false;  // a second one
      head.apart = without_white_space(value);
      return true;
    case Use::Tell: {
      auto& told = head.told.at(known->number);
      if (told.data() != nullptr) return false;  // a second one
      told = without_white_space(value);
      if (known->quiet && told.ends_with(*known->quiet)) {
        head.declines |= !known->quiet->empty();
      } else {
        head.tells = true;
      }
      return true;
    }
    case Use::Keep:
      return append(head, known->text) && append(head, ":") && append(head, value) && append(head, kLineEnd);
    case Use::Number:
      int64_t& number = head.numbers.at(known->number);
      if (number >= 0) return false;  // a second one
      number = number_of(value);
      return number >= 0 && append(head, known->text) && append(head, ":0") && append(head, kLineEnd);
  }
  return false;
}

bool HeadReader::read(std::string_view data, ReadHead& head) const {
  data = data.substr(0, kMostBytes);
  if (!data.starts_with(kMethod)) return false;
  const size_t path_end = end_of(kPath, data, kMethod.size());
  if (path_end == kMethod.size() || data[kMethod.size()] != '/') return false;
  if (!data.substr(path_end).starts_with(kVersion)) return false;
  size_t at = path_end + kVersion.size();
  head.numbers.fill(-1);
  head.apart.reset();
  head.told = {};
  head.tells = head.declines = false;
  head.key_bytes = 0;
  if (!append(head, data.substr(0, at))) return false;
  while (!data.substr(at).starts_with(kLineEnd)) {
    const size_t name_end = end_of(kToken, data, at);
    if (name_end == at || name_end == data.size() || data[name_end] != ':') return false;
    const size_t value_end = end_of(kValue, data, name_end + 1);
    if (!data.substr(value_end).starts_with(kLineEnd)) return false;
    if (!take_header(data.substr(at, name_end - at), data.substr(name_end + 1, value_end - name_end - 1), head)) {
      return false;
    }
    at = value_end + kLineEnd.size();
  }
  append(head, kLineEnd, 0);  // there is always room for it
  head.bytes = at + kLineEnd.size();
  return true;
}

}  // namespace trtserve
