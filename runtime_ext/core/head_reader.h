#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trtserve {

/// The head of a request: what it says, and without the headers that do not matter.
struct ReadHead {
  static constexpr size_t kNumbers = 3;
  static constexpr size_t kMostTold = 4;
  static constexpr size_t kMostKey = 2048;  // bytes

  std::string_view short_head() const { return {key.data(), key_bytes}; }

  size_t bytes = 0;                         // from the request line to the empty line
  std::array<int64_t, kNumbers> numbers{};  // -1: the header is not there
  std::optional<std::string_view> apart;    // the value of the header that is told apart
  // The values of the headers that are told where a head has any; without data: it is not there.
  std::array<std::string_view, kMostTold> told{};
  bool tells = false;     // one of these asks for something
  bool declines = false;  // one of these says that its caller does not want something
  size_t key_bytes = 0;
  std::array<char, kMostKey> key;  // a head with only the headers that matter, and 0 for each number
};

/// Reads the heads of ordinary POST requests of HTTP/1.1, more strictly than RFC 9112 demands: it reads no head that
/// llhttp refuses, and every head that it reads is read by llhttp in the same way. Immutable: may be shared.
class HeadReader {
 public:
  static constexpr size_t kMostBytes = 65'536;  // of a head

  /// Names of headers, in lower case. The values of those `kept` matter as they are; those of `numbers` are whole
  /// numbers, which may differ from request to request; a head with one that is `refused` is not read. The value of
  /// the one that is told `apart` is not in the short head; empty: there is none. Nor are the values of those that are
  /// `told`, of which there are at most kMostTold. A head with one of these twice is not read. The told values that
  /// end as `quiet` says, by name, ask for nothing; if that end is not empty, they decline what the header is for.
  HeadReader(const std::vector<std::string>& kept, const std::array<std::string, ReadHead::kNumbers>& numbers,
             const std::vector<std::string>& refused, const std::string& apart = "",
             const std::vector<std::string>& told = {}, const std::map<std::string, std::string>& quiet = {});

  /// Reads the head at the start of `data`. False if it is not complete, is not valid, or has anything unusual about
  /// it; `head` is then undefined.
  bool read(std::string_view data, ReadHead& head) const;

 private:
  enum class Use { Keep, Number, Refuse, Apart, Tell };
  struct Name {
    std::string text;
    Use use;
    size_t number;
    std::optional<std::string> quiet{};
  };

  void add(const std::string& name, Use use, size_t number = 0);
  const Name* find(std::string_view name) const;
  bool take_header(std::string_view name, std::string_view value, ReadHead& head) const;

  static constexpr size_t kLongestName = 63;
  std::array<std::vector<Name>, kLongestName + 1> names_;  // by their length
};

}  // namespace trtserve
