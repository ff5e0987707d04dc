#include "toy_plan.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "core/error.h"

namespace trtserve::toy {

namespace {

size_t input_index(const ToyPlan& plan, const std::string& name) {
  const auto found =
      std::find_if(plan.inputs.begin(), plan.inputs.end(), [&](const TensorSpec& s) { return s.name == name; });
  if (found == plan.inputs.end()) fail(Kind::InvalidInput, "the toy plan has no input '", name, "'");
  return static_cast<size_t>(found - plan.inputs.begin());
}

void read_input(ToyPlan& plan, std::istringstream& words) {
  TensorSpec spec;
  std::string datatype;
  words >> spec.name >> datatype;
  const auto dtype = parse_datatype(datatype);
  if (!dtype) fail(Kind::InvalidInput, "the toy plan has an input of datatype '", datatype, "'");
  spec.dtype = *dtype;
  std::string dim;
  words >> dim;
  if (dim != "...") spec.shape.emplace();
  for (; words && spec.shape; words >> dim) spec.shape->push_back(std::stoll(dim));
  plan.inputs.push_back(std::move(spec));
}

ShapeRange read_range(std::istringstream& words) {
  ShapeRange range;
  auto* bounds = &range.min;
  for (std::string word; words >> word;) {
    if (word == "/") {
      bounds = &range.max;
    } else {
      bounds->push_back(std::stoll(word));
    }
  }
  range.opt = range.min;
  return range;
}

TensorSpec& read_which_input(ToyPlan& plan, std::istringstream& words) {
  std::string name;
  words >> name;
  return plan.inputs[input_index(plan, name)];
}

void read_output(ToyPlan& plan, std::istringstream& words, ToyPlan::Output::Is is) {
  ToyPlan::Output output;
  std::string input;
  words >> output.name >> input;
  output.input = input_index(plan, input);
  output.is = is;
  if (is == ToyPlan::Output::Is::Multiple) words >> output.factor;
  if (is == ToyPlan::Output::Is::Size) words >> output.dim;
  plan.outputs.push_back(std::move(output));
}

void read_line(ToyPlan& plan, const std::string& line) {
  std::istringstream words(line);
  std::string key;
  words >> key;
  if (key == "input") {
    read_input(plan, words);
  } else if (key == "profile") {
    auto& input = read_which_input(plan, words);
    input.profiles.push_back(read_range(words));
  } else if (key == "values") {
    auto& input = read_which_input(plan, words);
    input.values.push_back(read_range(words));
  } else if (key == "output") {
    read_output(plan, words, ToyPlan::Output::Is::Multiple);
  } else if (key == "size") {
    read_output(plan, words, ToyPlan::Output::Is::Size);
  } else if (key == "sum") {
    read_output(plan, words, ToyPlan::Output::Is::Sum);
  } else if (key == "gate") {
    words >> plan.gate;
  } else if (key == "load_gate") {
    words >> plan.load_gate;
  } else if (key == "load_throws") {
    std::getline(words >> std::ws, plan.load_throws);
  } else if (key == "host") {
    read_which_input(plan, words).on_host = true;
  } else if (key == "interruptible") {
    plan.interruptible = true;
  } else if (key == "steady") {
    plan.steady = true;
  } else if (key == "knows_shapes") {
    plan.knows_shapes = true;
  } else if (key == "throw") {
    words >> plan.thrown;
  } else if (key == "fail") {
    std::getline(words >> std::ws, plan.failure);
  } else if (key == "fail_on") {
    words >> plan.fail_on;
  } else if (key == "fail_above") {
    words >> plan.fail_above.emplace();
  } else if (key == "instances") {
    words >> plan.instances;
  } else {
    fail(Kind::InvalidInput, "a toy plan has no line '", line, "'");
  }
}

}  // namespace

ToyPlan read_toy_plan(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line) || line != "toy 1") fail(Kind::InvalidInput, "this is not a toy plan");
  ToyPlan plan;
  while (std::getline(file, line)) {
    if (!line.empty()) read_line(plan, line);
  }
  return plan;
}

}  // namespace trtserve::toy
