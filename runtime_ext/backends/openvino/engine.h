#pragma once

#include <functional>
#include <memory>
#include <set>

#include <openvino/runtime/compiled_model.hpp>

#include "backends/openvino/execution_context.h"
#include "backends/openvino/tensor_names.h"
#include "core/backend.h"

namespace trtserve::openvino {

/// What protects the server from requests to a model. A blob has only the last two.
struct Safety {
  std::shared_ptr<const ShapeModel> shapes;
  std::shared_ptr<Marks> marks;
  std::set<size_t> narrowed;  ///< outputs that are FP64 in the file, but FP32 in the model
  bool infer_throws = true;
  bool steady = false;  ///< nothing but arithmetic: only shapes determine how long an execution takes
  std::function<ov::CompiledModel()> again;  ///< recompiles the model; null if no execution can damage it
};

/// Where the compiled model comes from, and whether it can be kept.
struct Kept {
  bool imported = false;  ///< it was compiled at an earlier load
  std::string key;        ///< of a file with it, see compiled_file.h; empty if there is to be none
};

/// A compiled model on the CPU.
class OpenVinoEngine final : public BackendEngine {
 public:
  /// `cast_first` is from value_range.h; empty if unknown. `stream_threads` are the threads that the model keeps; null
  /// if it keeps none.
  OpenVinoEngine(const ov::CompiledModel& model, const TensorNames& names,
                 const std::vector<ov::element::Type>& cast_first, Safety safety, int instances,
                 std::shared_ptr<const int> stream_threads, Kept kept = {});

  const std::vector<TensorSpec>& inputs() const override { return served_.inputs; }
  const std::vector<TensorSpec>& outputs() const override { return served_.outputs; }
  at::Device device() const override { return at::kCPU; }
  int instances() const override { return instances_; }
  std::map<std::string, std::string> properties() const override { return properties_; }
  std::optional<Shapes> output_shapes(const Shapes& inputs) const override {
    return served_.shapes ? served_.shapes->output_shapes(inputs) : std::nullopt;
  }
  bool is_steady() const override { return is_steady_; }
  /// OpenVINO ties a thread to one of the model's graphs: two instances must not use the same.
  bool needs_own_threads() const override { return stream_threads_ != nullptr; }
  std::unique_ptr<ExecutionContext> create_context() override;
  bool write_compiled(const std::string& path) const override;

 private:
  const std::shared_ptr<const int> stream_threads_;  // first, so that they are given back after the model is destroyed
  const int instances_;
  const bool is_steady_;
  const std::string kept_key_;
  const std::map<std::string, std::string> properties_;
  const Served served_;
  mutable Compilation compilation_;  // thread safe
};

}  // namespace trtserve::openvino
