#include "core/batch_outputs.h"

#include <ATen/Functions.h>

#include "core/byte_strings.h"

namespace trtserve {

namespace {

OutputView view(const void* data, size_t bytes, const at::Tensor& of) {
  OutputView view{data, bytes, of.scalar_type(), {}};
  view.shape.assign(of.sizes().begin(), of.sizes().end());
  return view;
}

}  // namespace

std::optional<std::string> why_undivided(const Part& part, const std::vector<at::Tensor>& outputs,
                                         const BatchRules& rules, const std::vector<std::string>& names) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const int64_t dim = rules.output_batch_dim[i];
    if (dim < outputs[i].dim() && outputs[i].size(dim) == part.items) continue;
    return c10::str("output '", names[i], "' has shape ", format_shape(outputs[i].sizes()), " for a batch of ",
                    part.items, ": the number of items must match the input, so load the engine with max_batch_size 1");
  }
  return std::nullopt;
}

std::vector<Completion> divide(const Part& part, std::vector<at::Tensor> outputs, const BatchRules& rules,
                               const OutputNames& names) {
  const bool alone = part.requests.size() == 1;
  std::vector<Completion> completions(part.requests.size());
  std::vector<at::Tensor> memory;
  for (size_t i = 0; i < outputs.size(); ++i) {
    auto& output = outputs[i];
    const int64_t dim = alone ? 0 : rules.output_batch_dim[i];
    const size_t item_bytes = alone || part.items == 0 ? 0 : output.nbytes() / static_cast<size_t>(part.items);
    const auto* data = static_cast<const std::byte*>(output.const_data_ptr());
    int64_t begin = 0;
    for (size_t r = 0; r < completions.size(); ++r) {
      const int64_t items = part.requests[r].signature->items;
      auto& views = completions[r].outputs;
      if (output.scalar_type() == kBytes) {
        const auto piece = alone ? output : output.narrow(rules.output_batch_dim[i], begin, items).contiguous();
        memory.push_back(packed(piece));
        views.push_back(view(memory.back().const_data_ptr(), memory.back().nbytes(), piece));
      } else if (alone) {
        views.push_back(view(data, output.nbytes(), output));
      } else if (dim == 0) {
        views.push_back(view(data, item_bytes * static_cast<size_t>(items), output));
        views.back().shape[0] = items;
        data += views.back().bytes;
      } else {
        memory.push_back(output.narrow(dim, begin, items).contiguous());
        views.push_back(view(memory.back().const_data_ptr(), memory.back().nbytes(), memory.back()));
      }
      begin += items;
    }
    if (output.scalar_type() == kBytes) output.reset();  // its strings have been copied
  }
  for (auto& output : outputs) {
    if (output.defined()) memory.push_back(std::move(output));
  }
  const auto shared = std::make_shared<const std::vector<at::Tensor>>(std::move(memory));
  for (auto& completion : completions) {
    completion.memory = shared;
    completion.output_names = names;
  }
  return completions;
}

}  // namespace trtserve
