#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plan.h"

namespace trtserve::fake::trt {

/// A node that the parser refuses.
struct RefusedNode {
  std::string operation;
  std::string name;
  std::string reason;  ///< empty: the parser does not know the operator
};

/// A model of the fake parser: any file that has, somewhere, the text `toy plan <<<`, the lines of a toy plan (plan.h),
/// and `>>>`. Its profiles are left out: the builder makes those that it is given. Lines that only parser and builder
/// read:
///
///   operator OPERATION node NAME [SENTENCE]  the parser does not know the operator or, with a sentence, refuses it
///   build_phases N         the build has N steps, each with a phase of two steps inside
///   build_gate NAME        the build waits for the gate after half of its steps; see gate.h
///   build_fail SENTENCE    the build fails; another thread reports the sentence
///   build_no_memory        the build fails for lack of device memory
///   build_crash            the build ends the process
struct ToyModel {
  Plan plan;  ///< without profiles
  std::vector<std::string> lines;
  std::vector<RefusedNode> refused;
  int32_t phases = 1;
  std::string gate;
  std::string failure;
  bool no_memory = false;
  bool crashes = false;
};

/// Nothing if the file holds no toy plan. Throws PlanError for a line that is wrong.
std::optional<ToyModel> read_model(std::string_view file);

/// The bytes of the plan that the model and these profiles make.
std::string make_plan(const ToyModel& model, const std::vector<Profile>& profiles);

}  // namespace trtserve::fake::trt
