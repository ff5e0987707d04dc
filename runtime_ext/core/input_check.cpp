#include "core/input_check.h"

namespace trtserve {

void check_inputs(const std::vector<TensorSpec>& specs, const std::vector<InputShape>& inputs) {
  for (size_t i = 0; i < specs.size(); ++i) check_input(specs[i], inputs[i].dtype, inputs[i].shape);
  if (!need_one_profile(specs)) return;
  std::vector<c10::IntArrayRef> shapes;
  shapes.reserve(inputs.size());
  for (const auto& input : inputs) shapes.push_back(input.shape);
  check_profiles(specs, shapes);
}

}  // namespace trtserve
