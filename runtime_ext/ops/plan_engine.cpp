#include "ops/plan_engine.h"

#include <charconv>
#include <type_traits>

#include <ATen/ops/from_blob.h>

#include "core/error.h"

namespace trtserve {

namespace {

/// Raised whenever the state changes so that earlier versions cannot read it.
constexpr int64_t kVersion = 1;

using Texts = c10::Dict<std::string, std::string>;

/// The options of one engine; those of batches have no meaning without a queue. Options that are neither text nor a
/// number are none of an engine with a plan.
Texts written(const LoadOptions& options) {
  const LoadOptions defaults;
  Texts texts;
  LoadOptions::fields([&](const std::string& name, auto member) {
    using Value = std::remove_cvref_t<decltype(options.*member)>;
    if (name == "compiled" || options.*member == defaults.*member) return;
    if constexpr (std::is_same_v<Value, std::string>) texts.insert(name, options.*member);
    if constexpr (std::is_integral_v<Value>) texts.insert(name, std::to_string(options.*member));
  });
  return texts;
}

template <typename Value>
void read_value(const std::string& name, const std::string& text, Value& value) {
  if constexpr (std::is_same_v<Value, std::string>) value = text;
  if constexpr (std::is_integral_v<Value>) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size()) return;
    fail(Kind::InvalidInput, "the module's engine has ", name, "=", text, ", which is not a number: it is damaged");
  }
}

LoadOptions read(const Texts& texts) {
  LoadOptions options;
  size_t known = 0;
  LoadOptions::fields([&](const std::string& name, auto member) {
    const auto found = texts.find(name);
    if (found == texts.end()) return;
    ++known;
    read_value(name, found->value(), options.*member);
  });
  if (known == texts.size()) return options;
  fail(Kind::InvalidInput,
       "the module's engine has an option that this version of trtserve does not know: install the "
       "version that wrote it");
}

}  // namespace

PlanEngineState PlanEngine::state() const {
  // A view on the plan's file: plans may have gigabytes, and torch.jit.save writes them from here. It is only read.
  auto mapped = source_->plan->map();
  auto* data = const_cast<char*>(mapped->bytes().data());
  const auto size = static_cast<int64_t>(mapped->bytes().size());
  auto bytes = at::from_blob(data, {size}, [mapped = std::move(mapped)](void*) {}, at::kByte);
  return {kVersion, source_->id, source_->backend, written(source_->options), std::move(bytes)};
}

c10::intrusive_ptr<PlanEngine> PlanEngine::from_state(const PlanEngineState& state) {
  const auto& [version, id, backend, options, bytes] = state;
  if (version != kVersion) {
    fail(Kind::InvalidInput, "the module's engine was written by another version of trtserve, in version ", version,
         " of the format; this one reads version ", kVersion, ": save the module again with this one");
  }
  const auto plan = bytes.cpu().contiguous();  // torch.jit.load moves it with map_location
  const std::string_view text(static_cast<const char*>(plan.const_data_ptr()), plan.nbytes());
  return c10::make_intrusive<PlanEngine>(EngineSource{id, backend, read(options), OpenPlan::write(text)});
}

}  // namespace trtserve
