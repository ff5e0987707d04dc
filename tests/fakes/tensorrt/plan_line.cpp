#include <algorithm>
#include <functional>
#include <sstream>
#include <string_view>

#include "plan.h"

namespace trtserve::fake::trt {

namespace {

using nvinfer1::DataType;

struct Datatype {
  std::string_view name;
  DataType type;
  size_t size;
};

constexpr std::array kDatatypes = {
    Datatype{"FP32", DataType::kFLOAT, 4},
    Datatype{"FP16", DataType::kHALF, 2},
    Datatype{"INT8", DataType::kINT8, 1},
    Datatype{"UINT8", DataType::kUINT8, 1},
    Datatype{"BOOL", DataType::kBOOL, 1},
    Datatype{"INT32", DataType::kINT32, 4},
#if NV_TENSORRT_MAJOR >= 10
    Datatype{"BF16", DataType::kBF16, 2},
    Datatype{"INT64", DataType::kINT64, 8},
    // INT4 and FP4 have two elements per byte; nothing here computes with them.
    Datatype{"FP8", DataType::kFP8, 1},
    Datatype{"INT4", DataType::kINT4, 1},
    Datatype{"FP4", DataType::kFP4, 1},
    Datatype{"E8M0", DataType::kE8M0, 1},
#endif
    Datatype{"INDEX", kIndexType, sizeof(Index)},
};

const Datatype* find_datatype(DataType type) {
  const auto* found =
      std::find_if(kDatatypes.begin(), kDatatypes.end(), [&](const Datatype& each) { return each.type == type; });
  return found == kDatatypes.end() ? nullptr : found;
}

/// Takes the words of a line one by one. Throws PlanError if one is missing, wrong or left over.
class Words {
 public:
  explicit Words(const std::string& line) : line_(line), words_(line) {}

  std::string word() {
    std::string next;
    if (!(words_ >> next)) fail();
    return next;
  }
  std::string rest() {
    std::string text;
    if (!std::getline(words_ >> std::ws, text)) fail();
    return text;
  }
  double number() {
    double next = 0;
    if (!(words_ >> next)) fail();
    return next;
  }
  int64_t whole() {
    int64_t next = 0;
    if (!(words_ >> next)) fail();
    return next;
  }
  int64_t natural() {
    const int64_t next = whole();
    if (next < 0) fail();
    return next;
  }
  DataType datatype() {
    const std::string name = word();
    for (const auto& each : kDatatypes) {
      if (each.name == name) return each.type;
    }
    fail();
  }
  size_t tensor(const Plan& plan, Kind kind) {
    const auto* found = plan.find(word().c_str());
    if (found == nullptr || found->kind != kind) fail();
    return static_cast<size_t>(found - plan.tensors.data());
  }
  Range range() {
    Range bounds;
    size_t at = 0;
    while (more()) {
      if ((words_ >> std::ws).peek() != '/') {
        bounds[at].push_back(whole());
      } else {
        words_.get();
        if (++at == bounds.size()) fail();
      }
    }
    return bounds;
  }
  bool more() { return (words_ >> std::ws).good(); }
  void end() {
    if (more()) fail();
  }
  [[noreturn]] void fail() const { throw PlanError("toy plan: there is no line '" + line_ + "'"); }

 private:
  const std::string& line_;
  std::istringstream words_;
};

void add(Plan& plan, Tensor tensor, const Words& words) {
  if (plan.find(tensor.name.c_str()) != nullptr || tensor.dims.size() > nvinfer1::Dims::MAX_DIMS) words.fail();
  plan.tensors.push_back(std::move(tensor));
}

void read_input(Plan& plan, Words& words) {
  Tensor tensor;
  tensor.name = words.word();
  tensor.type = words.datatype();
  while (words.more()) {
    tensor.dims.push_back(words.whole());
    if (tensor.dims.back() < -1) words.fail();
  }
  add(plan, std::move(tensor), words);
}

void read_shape_input(Plan& plan, Words& words) {
  Tensor tensor;
  tensor.name = words.word();
  tensor.kind = Kind::ShapeInput;
  tensor.type = words.datatype();
  if (tensor.type != DataType::kINT32 && tensor.type != kIndexType) words.fail();
  tensor.dims = {words.natural()};
  add(plan, std::move(tensor), words);
}

void read_add(Tensor& tensor, const Plan& plan, Words& words) {
  tensor.kind = Kind::Add;
  tensor.first = words.tensor(plan, Kind::Input);
  tensor.second = words.tensor(plan, Kind::Input);
  const auto& first = plan.tensors[tensor.first];
  const auto& second = plan.tensors[tensor.second];
  if (first.type != second.type || first.dims.size() != second.dims.size()) words.fail();
  tensor.type = first.type;
  tensor.dims = first.dims;
  for (size_t i = 0; i < tensor.dims.size(); ++i) tensor.dims[i] = std::max(first.dims[i], second.dims[i]);
}

void read_output(Plan& plan, Words& words) {
  Tensor tensor;
  tensor.name = words.word();
  const std::string operation = words.word();
  if (operation == "add") {
    read_add(tensor, plan, words);
  } else if (operation == "fill") {
    tensor.kind = Kind::Fill;
    tensor.first = words.tensor(plan, Kind::ShapeInput);
    tensor.type = words.datatype();
    tensor.number = words.number();
    tensor.dims.assign(static_cast<size_t>(plan.tensors[tensor.first].dims[0]), -1);
  } else {
    tensor.first = words.tensor(plan, Kind::Input);
    const auto& input = plan.tensors[tensor.first];
    tensor.type = input.type;
    tensor.dims = input.dims;
    if (operation == "scale") {
      tensor.kind = Kind::Scale;
      tensor.number = words.number();
    } else if (operation == "cast") {
      tensor.kind = Kind::Cast;
      tensor.type = words.datatype();
    } else if (operation == "nonzero" || operation == "shape_of") {
      tensor.kind = operation == "nonzero" ? Kind::Nonzero : Kind::ShapeOf;
      tensor.type = kIndexType;
      tensor.dims = {tensor.kind == Kind::Nonzero ? -1 : static_cast<int64_t>(input.dims.size())};
    } else {
      words.fail();
    }
  }
  add(plan, std::move(tensor), words);
}

void read_range(Plan& plan, Words& words, Kind kind) {
  const std::string name = plan.tensors[words.tensor(plan, kind)].name;
  if (plan.profiles.empty()) words.fail();
  auto& profile = plan.profiles.back();
  auto& ranges = kind == Kind::Input ? profile.dims : profile.values;
  if (!ranges.emplace(name, words.range()).second) words.fail();
}

void read_format(Plan& plan, Words& words) {
  const std::string name = words.word();
  const std::string format = words.word();
  const auto found =
      std::find_if(plan.tensors.begin(), plan.tensors.end(), [&](const Tensor& tensor) { return tensor.name == name; });
  const bool chw32 = format == "chw32";
  if (found == plan.tensors.end() || (!chw32 && format != "linear")) words.fail();
  if (chw32 && found->dims.size() < 3) words.fail();
  found->chw32 = chw32;
}

void read_scratch(Plan& plan, Words& words) {
  plan.scratch = words.natural();
  if (!words.more()) return;
  if (words.word() != "per_item") words.fail();
  plan.scratch_per_item = true;
}

void read_failure(Plan& plan, Words& words) {
  static constexpr std::array<std::string_view, 9> kPlaces = {"deserialize", "context",  "shape",  "infer", "enqueue",
                                                              "kernel",      "allocate", "notify", "late"};
  const std::string where = words.word();
  if (std::find(kPlaces.begin(), kPlaces.end(), where) == kPlaces.end()) words.fail();
  plan.failures[where] = words.rest();
}

void read_graph(Plan& plan, Words& words) {
  static const std::map<std::string, GraphMode> modes = {
      {"refuse", GraphMode::Refuse}, {"wrong", GraphMode::Wrong}, {"idle", GraphMode::Idle}, {"once", GraphMode::Once}};
  const auto found = modes.find(words.word());
  if (found == modes.end()) words.fail();
  plan.graph = found->second;
}

void read_crash(Plan& plan, Words& words) {
  if (words.word() != "deserialize") words.fail();
  plan.crashes = true;
}

using Reader = void (*)(Plan&, Words&);

const std::map<std::string, Reader>& readers() {
  static const std::map<std::string, Reader> by_key = {
      {"name", [](Plan& plan, Words& words) { plan.name = words.rest(); }},
      {"input", read_input},
      {"shape_input", read_shape_input},
      {"quiet", [](Plan& plan, Words& words) { plan.tensors[words.tensor(plan, Kind::ShapeInput)].quiet = true; }},
      {"output", read_output},
      {"profile", [](Plan& plan, Words&) { plan.profiles.emplace_back(); }},
      {"range", [](Plan& plan, Words& words) { read_range(plan, words, Kind::Input); }},
      {"values", [](Plan& plan, Words& words) { read_range(plan, words, Kind::ShapeInput); }},
      {"format", read_format},
      {"scratch", read_scratch},
      {"weights", [](Plan& plan, Words& words) { plan.weights = words.natural(); }},
      {"aux_streams", [](Plan& plan, Words& words) { plan.aux_streams = static_cast<int32_t>(words.natural()); }},
      {"layers", [](Plan& plan, Words& words) { plan.layers = static_cast<int32_t>(words.natural()); }},
      {"hardware", [](Plan& plan, Words& words) { plan.hardware = static_cast<int32_t>(words.natural()); }},
      {"host_code", [](Plan& plan, Words&) { plan.host_code = true; }},
      {"streams_weights", [](Plan& plan, Words&) { plan.streams_weights = true; }},
      {"gate", [](Plan& plan, Words& words) { plan.gate = words.word(); }},
      {"temporary", [](Plan& plan, Words& words) { plan.temporary = words.natural(); }},
      {"capture_gate", [](Plan& plan, Words& words) { plan.capture_gate = words.word(); }},
      {"capture_allocates", [](Plan& plan, Words&) { plan.capture_allocates = true; }},
      {"fail", read_failure},
      {"crash", read_crash},
      {"fail_on", [](Plan& plan, Words& words) { plan.fail_on = words.number(); }},
      {"graph", read_graph},
  };
  return by_key;
}

}  // namespace

std::string datatype_name(DataType type) {
  const auto* found = find_datatype(type);
  return found == nullptr ? "" : std::string(found->name);
}

size_t size_of(DataType type) { return find_datatype(type)->size; }

void read_line(Plan& plan, const std::string& line) {
  Words words(line);
  const auto found = readers().find(words.word());
  if (found == readers().end()) words.fail();
  found->second(plan, words);
  words.end();
}

}  // namespace trtserve::fake::trt
