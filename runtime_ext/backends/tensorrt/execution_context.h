#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "backends/tensorrt/cuda_event.h"
#include "backends/tensorrt/engine.h"
#include "backends/tensorrt/graph_cache.h"
#include "backends/tensorrt/profile_context.h"
#include "backends/tensorrt/scratch.h"
#include "backends/tensorrt/stream_scope.h"
#include "core/backend.h"

namespace trtserve::tensorrt {

/// One instance's means to run an engine: one context per profile, so that no execution switches profiles; captured
/// graphs, each with its own context; one block of scratch memory for all of them; and a stream.
class TensorRtContext final : public ExecutionContext {
 public:
  /// Uses the engine's deserialized engine number `copy`. `engine` outlives the context.
  TensorRtContext(TensorRtEngine& engine, size_t copy);
  ~TensorRtContext() override;
  TensorRtContext(const TensorRtContext&) = delete;
  TensorRtContext& operator=(const TensorRtContext&) = delete;

  std::vector<at::Tensor> execute(c10::ArrayRef<at::Tensor> inputs) override;
  void warm_up(c10::ArrayRef<at::Tensor> inputs) override;
  void synchronize() noexcept override;
  bool idle() const noexcept override;

  /// Frees the graphs, unless the context works now. For another instance, whose engine has given up graphs: this one
  /// frees them itself at its next execution. Thread safe.
  void free_graphs() noexcept;

 private:
  using TensorList = std::vector<at::Tensor>;

  /// The last execution: where it runs, and its profile and shapes.
  struct Last {
    cudaStream_t stream = nullptr;
    GraphCache::Key key;
  };

  TensorList execute_alone(c10::ArrayRef<at::Tensor> inputs, GraphMode mode);
  void wait_for_last(const GraphCache::Key& key, cudaStream_t stream);
  bool is_ready(const GraphCache::Entry& entry, int32_t profile, const TensorList& inputs) const;
  TensorList run(int32_t profile, const TensorList& inputs, const GraphCache::Key& key, const StreamScope& scope,
                 GraphMode mode);
  TensorList run_plain(int32_t profile, const TensorList& inputs, c10::Stream stream);
  TensorList replay(GraphCache::Entry& entry, const TensorList& inputs, cudaStream_t handle);
  void capture(int32_t profile, const TensorList& inputs, const TensorList& expected, const GraphCache::Key& key,
               c10::Stream stream);
  CudaGraph capture(ProfileContext& context, const CaptureStream& stream, const TensorList& inputs,
                    TensorList& outputs);
  ProfileContext& prepare(int32_t profile, const TensorList& inputs);
  void prepare(ProfileContext& context, const TensorList& inputs);
  void discard(int32_t profile, c10::Stream stream) noexcept;

  TensorRtEngine& engine_;
  const size_t copy_;
  const std::unique_ptr<DeviceStream> own_;
  const c10::Stream stream_;  // own_'s, for callers on the default stream
  std::mutex working_;        // held during an execution, and by another instance that frees the graphs
  CudaEvent done_;            // end of the last execution's work
  const at::Tensor blank_;    // the address of empty tensors
  // The order matters: graphs and contexts refer to the scratch memory.
  Scratch scratch_;
  std::vector<std::unique_ptr<ProfileContext>> contexts_;  // by profile; null: discarded, recreated when needed
  GraphCache graphs_;                                      // guarded by working_
  Last last_;                                              // guarded by working_
};

}  // namespace trtserve::tensorrt
