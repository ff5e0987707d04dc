#include "core/cut_json.h"

#include <algorithm>

#include "core/number_list.h"

namespace trtserve {

namespace {

/// The first plain string that is the value of a key "id", without its quotes.
std::optional<Span> find_id(std::string_view document) {
  constexpr std::string_view kKey = "\"id\"";
  for (size_t at = 0; (at = document.find(kKey, at)) != std::string_view::npos;) {
    size_t begin = value_of(document, at, kKey.size());
    at += kKey.size();
    if (begin == document.size() || document[begin] != '"') continue;
    const size_t end = document.find('"', ++begin);
    if (end == std::string_view::npos) return std::nullopt;
    const auto text = document.substr(begin, end - begin);
    if (std::all_of(text.begin(), text.end(), is_plain)) return Span{begin, end};
  }
  return std::nullopt;
}

}  // namespace

std::optional<CutJson> cut_json(std::string_view document, size_t most_lists, size_t most_rest) {
  CutJson cut;
  cut.lists = find_number_lists(document, /*least=*/1, most_lists + 1);
  if (cut.lists.size() > most_lists) return std::nullopt;
  size_t rest = document.size();
  for (const auto& list : cut.lists) rest -= list.end - list.begin - 1;
  if (rest > most_rest) return std::nullopt;
  cut.rest.reserve(rest);
  size_t at = 0;
  for (const auto& list : cut.lists) {
    cut.rest.append(document, at, list.begin - at).push_back(CutJson::kList);
    at = list.end;
  }
  cut.rest.append(document, at);
  if (auto id = find_id(cut.rest)) {
    // The lists before it are longer in the document.
    size_t moved = 0;
    for (const auto& list : cut.lists) {
      if (list.begin < id->begin + moved) moved += list.end - list.begin - 1;
    }
    cut.id = Span{id->begin + moved, id->end + moved};
    cut.rest.replace(id->begin, id->end - id->begin, 1, CutJson::kId);
  }
  return cut;
}

bool may_fill(const CutJson& cut, c10::ArrayRef<NumberTensor> tensors) {
  if (cut.lists.size() != tensors.size()) return false;
  for (size_t i = 0; i < tensors.size(); ++i) {
    // Each element but the last has a digit and a comma.
    if (tensors[i].elements > (cut.lists[i].end - cut.lists[i].begin) / 2) return false;
  }
  return true;
}

bool read_lists(const CutJson& cut, std::string_view document, c10::ArrayRef<NumberTensor> tensors, std::byte* to) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto& [begin, end] = cut.lists[i];
    const auto& tensor = tensors[i];
    if (read_number_list(document.substr(begin, end - begin), tensor.shape, tensor.dtype, to, tensor.elements)) {
      return false;
    }
    to += tensor.bytes();
  }
  return true;
}

}  // namespace trtserve
