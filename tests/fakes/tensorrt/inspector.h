#pragma once

#include <new>

#include "contract.h"
#include "state.h"

namespace trtserve::fake::trt {

/// The state of an IEngineInspector. Not thread safe.
struct InspectorState {
  explicit InspectorState(std::shared_ptr<EngineState> the_engine)
      : engine(std::move(the_engine)), reporter(engine->reporter) {}

  const char* gone_ancestor() const { return engine->destroyed ? "engine" : engine->gone_ancestor(); }

  const std::shared_ptr<EngineState> engine;
  Reporter reporter;
  std::string result;  // the result of the last call, valid until the next
  Live live{"inspector"};
};

/// The API's inspector, for one thread at a time.
class Inspector final : public nvinfer1::IEngineInspector {
 public:
  explicit Inspector(std::shared_ptr<InspectorState> state) : object_("inspector", std::move(state)) {}
  ~Inspector() override = default;
  static void operator delete(Inspector* self, std::destroying_delete_t);

  bool setExecutionContext(nvinfer1::IExecutionContext const* context) noexcept override;
  char const* getLayerInformation(int32_t index, nvinfer1::LayerInformationFormat format) const noexcept override;
  char const* getEngineInformation(nvinfer1::LayerInformationFormat format) const noexcept override;
  void setErrorRecorder(nvinfer1::IErrorRecorder* recorder) noexcept override;
  nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override;

 private:
  mutable Owned<InspectorState> object_;
};

}  // namespace trtserve::fake::trt
