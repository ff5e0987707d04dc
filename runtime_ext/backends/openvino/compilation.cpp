#include "backends/openvino/compilation.h"

#include "core/error.h"

namespace trtserve::openvino {

Compilation::Compilation(ov::CompiledModel model, std::function<ov::CompiledModel()> again)
    : again_(std::move(again)), made_(std::make_shared<Made>(std::move(model))) {}

std::shared_ptr<Compilation::Made> Compilation::sound() {
  const std::lock_guard lock(mutex_);
  if (made_ && !made_->damaged) return made_;
  made_.reset();  // before the new one is made: contexts that still run in it keep it
  try {
    made_ = std::make_shared<Made>(again_());
  } catch (const std::exception&) {
    fail(Kind::Unavailable,
         "the model could not be compiled anew after a failed execution: try again, or load the engine again");
  }
  return made_;
}

}  // namespace trtserve::openvino
