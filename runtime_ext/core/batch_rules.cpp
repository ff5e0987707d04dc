#include "core/batch_rules.h"

#include <algorithm>

#include "core/error.h"

namespace trtserve {

namespace {

// Numbers above these limits are mistakes; below them, sums of items and of times do not overflow.
constexpr int64_t kMostItems = 1 << 20;
constexpr int64_t kLongestUs = 3'600'000'000;

// A size for dynamic dimensions, to ask a backend about known shapes; the backend may refuse it.
constexpr int64_t kAnySize = 32;

void check_range(const char* option, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return;
  fail(Kind::InvalidInput, option, " is ", value, "; allowed are numbers from ", least, " to ", most);
}

int64_t batch_dim(const TensorSpec& spec, const char* role, const BatchOptions& options) {
  const auto named = options.batch_dims.find(spec.name);
  const int64_t dim = named == options.batch_dims.end() ? 0 : named->second;
  const auto refuse = [&](const auto&... why) {
    if (options.max_batch_size == kAutoSize) fail(Kind::InvalidInput, role, " '", spec.name, "' ", why...);
    fail(Kind::InvalidInput, "max_batch_size is ", options.max_batch_size, ", but ", role, " '", spec.name, "' ",
         why..., ": load the engine with max_batch_size 1");
  };
  if (!spec.values.empty()) refuse("holds values that decide shapes, which cannot be joined");
  if (!spec.shape) refuse("is of unknown rank");
  if (dim < 0 || dim >= static_cast<int64_t>(spec.shape->size())) {
    refuse("has no dimension ", dim, " in its shape ", format_shape(*spec.shape));
  }
  if ((*spec.shape)[static_cast<size_t>(dim)] >= 0) {
    refuse("is fixed in dimension ", dim, " of its shape ", format_shape(*spec.shape));
  }
  return dim;
}

std::vector<int64_t> batch_dims(const std::vector<TensorSpec>& specs, const char* role, const BatchOptions& options) {
  std::vector<int64_t> dims;
  for (const auto& spec : specs) dims.push_back(batch_dim(spec, role, options));
  return dims;
}

void check_names_known(const Engine& engine, const BatchOptions& options) {
  for (const auto& named : options.batch_dims) {
    const auto is_named = [&](const TensorSpec& spec) { return spec.name == named.first; };
    if (std::none_of(engine.inputs().begin(), engine.inputs().end(), is_named) &&
        std::none_of(engine.outputs().begin(), engine.outputs().end(), is_named)) {
      fail(Kind::InvalidInput, "batch_dims names '", named.first, "', which is not a tensor of the engine");
    }
  }
}

/// Returns two batch sizes that the first profile accepts: an output shape that is right for only one of them does not
/// follow the batch.
std::vector<int64_t> two_batches(const Engine& engine, const BatchRules& rules) {
  int64_t least = 2;
  int64_t most = rules.max_items;
  for (size_t i = 0; i < engine.inputs().size(); ++i) {
    const auto& profiles = engine.inputs()[i].profiles;
    if (profiles.empty()) continue;
    const auto dim = static_cast<size_t>(rules.input_batch_dim[i]);
    least = std::max(least, profiles[0].min[dim]);
    if (profiles[0].max[dim] >= 0) most = std::min(most, profiles[0].max[dim]);
  }
  if (least > most) return {};
  return least == most ? std::vector{least} : std::vector{least, least + 1};
}

/// The shapes of a batch of `items` items; other dynamic dimensions are unknown, or `other`.
BackendEngine::Shapes batch_shapes(const Engine& engine, const BatchRules& rules, int64_t items, int64_t other) {
  BackendEngine::Shapes inputs;
  for (size_t i = 0; i < engine.inputs().size(); ++i) {
    inputs.push_back(engine.inputs()[i].shape);
    for (auto& dim : *inputs.back()) dim = dim < 0 ? other : dim;
    inputs.back()->at(static_cast<size_t>(rules.input_batch_dim[i])) = items;
  }
  return inputs;
}

/// Refuses an output whose shape does not follow the batch, or whose number of items depends on values, where the
/// backend knows it. By chance that number can equal the batch's, and then different clients' items would be mixed up.
void check_known_shapes(const Engine& engine, const BatchRules& rules) {
  for (const int64_t items : two_batches(engine, rules)) {
    for (const int64_t other : {int64_t{-1}, kAnySize}) {
      const auto known = engine.first().output_shapes(batch_shapes(engine, rules, items, other));
      if (!known) continue;
      for (size_t i = 0; i < known->size(); ++i) {
        const auto& shape = (*known)[i];
        const auto dim = static_cast<size_t>(rules.output_batch_dim[i]);
        if (!shape || dim >= shape->size() || (*shape)[dim] == items) continue;
        const bool unknown = (*shape)[dim] < 0;
        if (unknown && other < 0) continue;
        const auto asked = rules.optional ? "" : c10::str("max_batch_size is ", rules.max_items, ", but ");
        fail(Kind::InvalidInput, asked, "output '", engine.outputs()[i].name, "' has ",
             unknown ? "a shape that depends on values, " : "shape ", format_shape(*shape), " for a batch of ", items,
             ": the number of items must match the input",
             rules.optional ? "" : ", so load the engine with max_batch_size 1");
      }
    }
  }
}

}  // namespace

namespace {

/// The most items that any profile takes, or kAutoItems where one has no bound.
int64_t items_of_profiles(const Engine& engine, const BatchRules& rules) {
  size_t profiles = 0;
  for (const auto& input : engine.inputs()) profiles = std::max(profiles, input.profiles.size());
  if (profiles == 0) return kAutoItems;
  int64_t most = 0;
  for (size_t index = 0; index < profiles; ++index) {
    int64_t bound = kMostItems;
    bool bounded = false;
    for (size_t i = 0; i < engine.inputs().size(); ++i) {
      const auto& ranges = engine.inputs()[i].profiles;
      if (index >= ranges.size()) continue;
      const int64_t max = ranges[index].max[static_cast<size_t>(rules.input_batch_dim[i])];
      if (max < 0) continue;
      bound = std::min(bound, max);
      bounded = true;
    }
    most = std::max(most, bounded ? bound : kAutoItems);
  }
  return most;
}

BatchRules rules_for(const Engine& engine, const BatchOptions& options) {
  BatchRules rules;
  rules.max_items = options.max_batch_size;
  rules.optional = options.max_batch_size == kAutoSize;
  if (engine.inputs().empty() || engine.outputs().empty()) {
    if (rules.optional) fail(Kind::InvalidInput, "it has no inputs or no outputs");
    return BatchRules{};
  }
  check_names_known(engine, options);
  rules.input_batch_dim = batch_dims(engine.inputs(), "input", options);
  rules.output_batch_dim = batch_dims(engine.outputs(), "output", options);
  if (rules.optional) rules.max_items = items_of_profiles(engine, rules);
  if (!rules.joins()) fail(Kind::InvalidInput, "its profiles take one item at a time");
  rules.adaptive = options.max_queue_delay_us == BatchOptions::kAutoDelay;
  if (!rules.adaptive) {
    check_range("max_queue_delay_us", options.max_queue_delay_us, 0, kLongestUs);
    rules.max_delay = std::chrono::microseconds(options.max_queue_delay_us);
  }
  check_range("latency_target_us", options.latency_target_us, 0, kLongestUs);
  rules.latency_target = std::chrono::microseconds(options.latency_target_us);
  rules.preferred = options.preferred_batch_sizes;
  std::sort(rules.preferred.begin(), rules.preferred.end());
  if (rules.optional) std::erase_if(rules.preferred, [&](int64_t size) { return size > rules.max_items; });
  for (const int64_t size : rules.preferred) {
    if (size < 1 || size > rules.max_items) {
      fail(Kind::InvalidInput, "preferred_batch_sizes has ", size, "; allowed are sizes from 1 to max_batch_size, ",
           rules.max_items);
    }
  }
  check_known_shapes(engine, rules);
  return rules;
}

}  // namespace

BatchRules batch_rules(const Engine& engine) {
  const auto& options = engine.options().batch;
  if (options.max_batch_size == 1) return BatchRules{};
  if (options.max_batch_size != kAutoSize) {
    check_range("max_batch_size", options.max_batch_size, 1, kMostItems);
    return rules_for(engine, options);
  }
  if (!options.batch_dims.empty()) check_names_known(engine, options);
  try {
    return rules_for(engine, options);
  } catch (const Error& why) {
    BatchRules none;
    none.optional = true;
    none.why_not = why.what();
    return none;
  }
}

}  // namespace trtserve
