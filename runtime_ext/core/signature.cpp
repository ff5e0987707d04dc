#include "core/signature.h"

#include <algorithm>
#include <limits>

#include "core/byte_strings.h"
#include "core/error.h"

namespace trtserve {

namespace {

std::string list_names(const std::vector<TensorSpec>& specs) {
  if (specs.empty()) return "none";
  std::string text;
  for (const auto& spec : specs) {
    if (!text.empty()) text += ", ";
    text += c10::str("'", spec.name, "'");
  }
  return text;
}

/// The length in bytes for the shape and datatype. A product beyond 63 bits cannot be a buffer's length.
size_t expected_bytes(const TensorShape& tensor, c10::ScalarType dtype) {
  auto bytes = static_cast<int64_t>(c10::elementSize(dtype));
  for (const int64_t dim : tensor.shape) {
    // An empty tensor's strides depend on its other dimensions, so their product must fit as well.
    if (__builtin_mul_overflow(bytes, std::max<int64_t>(dim, 1), &bytes)) {
      fail(Kind::InvalidInput, "input '", tensor.name, "' has shape ", format_shape(tensor.shape),
           ": that many elements fit into no memory");
    }
  }
  const bool empty = std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end();
  return empty ? 0 : static_cast<size_t>(bytes);
}

Signature::Input check(const TensorShape& tensor, const TensorSpec& spec) {
  const auto dtype = parse_datatype(tensor.datatype);
  if (!dtype) {
    fail(Kind::InvalidInput, "input '", tensor.name, "' has datatype ", tensor.datatype, "; the engine takes ",
         datatype_name(spec.dtype));
  }
  if (std::any_of(tensor.shape.begin(), tensor.shape.end(), [](int64_t dim) { return dim < 0; })) {
    fail(Kind::InvalidInput, "input '", tensor.name, "' has a negative dimension in its shape");
  }
  check_input(spec, *dtype, tensor.shape);
  Signature::Input input{tensor.name, *dtype, tensor.shape, expected_bytes(tensor, *dtype), spec.text};
  if (input.dtype == kBytes && input.elements() > kMostByteStrings) {
    fail(Kind::InvalidInput, "input '", input.name, "' has ", input.elements(), " strings; at most ", kMostByteStrings,
         " are allowed");
  }
  return input;
}

/// True if the range accepts `shape` in every dimension except the batch dimension.
bool fits_but_for_batch(const ShapeRange& range, const std::vector<int64_t>& shape, size_t batch_dim) {
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i == batch_dim) continue;
    if (shape[i] < range.min[i] || (range.max[i] >= 0 && shape[i] > range.max[i])) return false;
  }
  return true;
}

/// The range of items that profile `index` accepts in a batch of the signature's shape; nothing if it does not accept
/// the shape.
std::optional<std::pair<int64_t, int64_t>> item_range(const Engine& engine, const BatchRules& rules,
                                                      const Signature& signature, size_t index) {
  std::pair<int64_t, int64_t> range{0, std::numeric_limits<int64_t>::max()};
  for (size_t i = 0; i < signature.inputs.size(); ++i) {
    const auto& profiles = engine.inputs()[i].profiles;
    if (index >= profiles.size()) continue;
    const auto dim = static_cast<size_t>(rules.input_batch_dim[i]);
    if (!fits_but_for_batch(profiles[index], signature.inputs[i].shape, dim)) return std::nullopt;
    range.first = std::max(range.first, profiles[index].min[dim]);
    if (profiles[index].max[dim] >= 0) range.second = std::min(range.second, profiles[index].max[dim]);
  }
  return range;
}

/// The most items of a batch, if there are inputs of strings: so many that none has more than kMostByteStrings, because
/// a module's lists take some 500 bytes for each. Nothing if there are none.
std::optional<int64_t> most_items_with_strings(const Signature& signature) {
  std::optional<int64_t> most;
  for (const auto& input : signature.inputs) {
    const size_t strings = input.dtype == kBytes ? input.elements() : 0;
    if (strings == 0) continue;
    const auto items = static_cast<int64_t>(kMostByteStrings * static_cast<size_t>(signature.items) / strings);
    most = std::min(most.value_or(items), items);
  }
  return most;
}

/// Makes the signature one of requests that no other is joined with, as those of an engine that does not batch.
void run_alone(Signature& signature) {
  signature.items = 1;
  signature.item_ranges = {{1, 1}};
  signature.shape_class = {-1};  // a class of its own: no shape has a rank below 0
}

void add_batch(Signature& signature, const Engine& engine, const BatchRules& rules) {
  size_t profiles = 0;
  for (size_t i = 0; i < signature.inputs.size(); ++i) {
    const auto& shape = signature.inputs[i].shape;
    const auto dim = static_cast<size_t>(rules.input_batch_dim[i]);
    if (i == 0) {
      signature.items = shape[dim];
    } else if (shape[dim] != signature.items && rules.optional) {
      return run_alone(signature);
    } else if (shape[dim] != signature.items) {
      fail(Kind::InvalidInput, "input '", engine.inputs()[i].name, "' has ", shape[dim], " items in dimension ", dim,
           "; input '", engine.inputs()[0].name, "' has ", signature.items, ": all must have the same number");
    }
    signature.shape_class.push_back(static_cast<int64_t>(shape.size()));
    for (size_t d = 0; d < shape.size(); ++d) {
      if (d != dim) signature.shape_class.push_back(shape[d]);
    }
    profiles = std::max(profiles, engine.inputs()[i].profiles.size());
  }
  for (size_t index = 0; index < profiles; ++index) {
    if (const auto range = item_range(engine, rules, signature, index)) signature.item_ranges.push_back(*range);
  }
  // Only modules have strings, and they have no profiles.
  if (const auto most = most_items_with_strings(signature)) signature.item_ranges.push_back({0, *most});
}

}  // namespace

void Signature::Input::check_data(const char* memory, size_t length) const {
  if (dtype == kBytes) {
    if (memory == nullptr && length != 0) fail(Kind::InvalidInput, "input '", name, "': strings must be in memory");
    check_byte_strings(name, {memory, length}, elements(), text);
  } else if (length != bytes) {
    fail(Kind::InvalidInput, "input '", name, "' has ", length, " bytes; ", datatype_name(dtype), " ",
         format_shape(shape), " takes ", bytes);
  }
}

bool Signature::takes(int64_t batch_items) const {
  return item_ranges.empty() || std::any_of(item_ranges.begin(), item_ranges.end(), [&](const auto& range) {
           return range.first <= batch_items && batch_items <= range.second;
         });
}

int64_t Signature::most_items(int64_t limit) const {
  if (item_ranges.empty()) return limit;
  int64_t most = 0;
  for (const auto& range : item_ranges) most = std::max(most, range.second);
  return std::min(limit, most);
}

Signature sign(const Engine& engine, const BatchRules& rules, const std::vector<TensorShape>& tensors) {
  const auto& specs = engine.inputs();
  Signature signature;
  std::vector<std::optional<Signature::Input>> inputs(specs.size());
  for (const auto& tensor : tensors) {
    const auto spec = std::find_if(specs.begin(), specs.end(), [&](const auto& s) { return s.name == tensor.name; });
    if (spec == specs.end()) {
      fail(Kind::InvalidInput, engine.label(), " has no input '", tensor.name, "'; its inputs: ", list_names(specs));
    }
    const auto index = static_cast<size_t>(spec - specs.begin());
    if (inputs[index]) fail(Kind::InvalidInput, "input '", tensor.name, "' came twice");
    inputs[index] = check(tensor, *spec);
    signature.positions.push_back(index);
  }
  for (size_t i = 0; i < specs.size(); ++i) {
    if (!inputs[i]) {
      fail(Kind::InvalidInput, "input '", specs[i].name, "' is missing: ", datatype_name(specs[i].dtype), " ",
           specs[i].shape ? format_shape(*specs[i].shape) : "of any shape");
    }
    signature.inputs.push_back(std::move(*inputs[i]));
  }
  if (need_one_profile(specs)) {
    std::vector<c10::IntArrayRef> shapes;
    for (const auto& input : signature.inputs) shapes.emplace_back(input.shape);
    check_profiles(specs, shapes);
  }
  if (rules.joins()) add_batch(signature, engine, rules);
  return signature;
}

}  // namespace trtserve
