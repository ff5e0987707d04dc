// Options are given by keyword. Their names, and the members behind them, are listed by fields() of each kind.

#include "bindings_options.h"

#include <tuple>

#include <pybind11/stl.h>

#include "bindings_text.h"
#include "core/batch_rules.h"
#include "core/build_options.h"
#include "core/build_progress.h"
#include "core/load_options.h"

namespace py = pybind11;

namespace trtserve {
namespace {

/// Moves a keyword argument, if it was given, into `value`. TypeError where it is of another type.
template <typename Value>
void take(py::dict& left, const char* name, Value& value) {
  if (!left.contains(name)) return;
  const py::object given = left.attr("pop")(name);
  try {
    value = given.cast<Value>();
  } catch (const py::cast_error&) {
    throw py::type_error(c10::str("the option ", name, " cannot be ", std::string(py::repr(given))));
  }
}

template <typename Options>
void take_fields(py::dict& left, Options& options) {
  Options::fields([&](const char* name, auto member) { take(left, name, options.*member); });
}

void refuse_left(const py::dict& left) {
  if (left.empty()) return;
  throw py::type_error(c10::str("there is no option ", std::string(py::str(left.begin()->first))));
}

template <typename Options>
void bind_fields(py::class_<Options>& type) {
  Options::fields([&](const char* name, auto member) { type.def_readwrite(name, member); });
}

/// A profile as Python gives it: by input, the least, the best and the greatest shape or values.
using Sizes = std::vector<int64_t>;
using Ranges = std::map<std::string, std::tuple<Sizes, Sizes, Sizes>>;

std::vector<BuildProfile> to_profiles(const std::vector<Ranges>& given) {
  std::vector<BuildProfile> profiles;
  for (const auto& ranges : given) {
    auto& profile = profiles.emplace_back();
    for (const auto& [input, range] : ranges) {
      profile.emplace(input, std::make_from_tuple<ShapeRange>(range));
    }
  }
  return profiles;
}

std::vector<Ranges> from_profiles(const std::vector<BuildProfile>& profiles) {
  std::vector<Ranges> all;
  for (const auto& profile : profiles) {
    auto& ranges = all.emplace_back();
    for (const auto& [input, range] : profile) ranges.emplace(input, std::tuple(range.min, range.opt, range.max));
  }
  return all;
}

}  // namespace

void bind_options(py::module_& module) {
  py::class_<BatchOptions> batch(module, "BatchOptions");
  batch.def(py::init([](const py::kwargs& given) {
    BatchOptions options;
    py::dict left(given.attr("copy")());
    take_fields(left, options);
    refuse_left(left);
    return options;
  }));
  bind_fields(batch);
  module.attr("AUTO_DELAY") = BatchOptions::kAutoDelay;
  module.attr("AUTO_BATCH_SIZE") = kAutoSize;

  // Options of batches may be given by their own names too, beside the others.
  py::class_<LoadOptions> load(module, "LoadOptions");
  load.def(py::init([](const py::kwargs& given) {
    LoadOptions options;
    py::dict left(given.attr("copy")());
    take(left, "batch", options.batch);
    take_fields(left, options);
    take_fields(left, options.batch);
    refuse_left(left);
    return options;
  }));
  bind_fields(load);
  load.def_readwrite("batch", &LoadOptions::batch);
}

void bind_build(py::module_& module) {
  py::class_<BuildOptions> build(module, "BuildOptions");
  build.def(py::init([](const py::kwargs& given) {
    BuildOptions options;
    std::vector<Ranges> profiles;
    py::dict left(given.attr("copy")());
    take(left, "profiles", profiles);
    options.profiles = to_profiles(profiles);
    take_fields(left, options);
    refuse_left(left);
    return options;
  }));
  bind_fields(build);
  build.def_property(
      "profiles", [](const BuildOptions& options) { return from_profiles(options.profiles); },
      [](BuildOptions& options, const std::vector<Ranges>& profiles) { options.profiles = to_profiles(profiles); });

  // Held by shared_ptr: a build may outlive its caller's interest in it.
  py::class_<BuildProgress, std::shared_ptr<BuildProgress>>(module, "BuildProgress")
      .def(py::init<>())
      .def_property_readonly("fraction", &BuildProgress::fraction)
      .def_property_readonly("phase", [](const BuildProgress& progress) { return sentence(progress.phase()); });
}

}  // namespace trtserve
