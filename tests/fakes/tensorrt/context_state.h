#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "flight.h"
#include "state.h"

namespace trtserve::fake::trt {

/// The state of an IExecutionContext: used by one thread at a time, which contract.h enforces.
struct ContextState {
  ContextState(std::shared_ptr<EngineState> the_engine, nvinfer1::ExecutionContextAllocationStrategy the_strategy);

  const char* gone_ancestor() const { return engine->destroyed ? "engine" : engine->gone_ancestor(); }
  const Profile& ranges() const { return plan.profiles[static_cast<size_t>(profile)]; }
  size_t index(const Tensor& tensor) const { return static_cast<size_t>(&tensor - plan.tensors.data()); }
  bool user_managed() const { return strategy == nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED; }

  const std::shared_ptr<EngineState> engine;
  const Plan& plan;
  const nvinfer1::ExecutionContextAllocationStrategy strategy;
  Reporter reporter;
  std::string name;

  int32_t profile = 0;
  /// A change of profile is also work on a stream: the stream, and whether it is done.
  const Stream* profile_stream = nullptr;
  std::shared_ptr<std::atomic<bool>> profile_ready;

  // One per tensor of the plan, in order.
  std::vector<std::optional<Shape>> input_shapes;  ///< the shapes that were set
  std::vector<void*> addresses;
  std::vector<nvinfer1::IOutputAllocator*> allocators;

  /// By tensor, the values of the shape inputs when shapes were last queried after the last enqueueV3.
  std::map<size_t, Shape> seen_values;
  /// Shapes that the last enqueueV3 found from the data. The real library (8.5.3) keeps reporting them, even for other
  /// input shapes.
  std::map<size_t, Shape> found_shapes;
  /// Shapes or profile have changed since the last enqueueV3: the next one makes updates, which cannot be captured.
  bool changed = true;

  /// Counts the calls that change the context: each invalidates earlier captured graphs.
  const std::shared_ptr<std::atomic<uint64_t>> revision = std::make_shared<std::atomic<uint64_t>>(0);

  void* scratch = nullptr;
  int64_t scratch_bytes = 0;
  std::shared_ptr<DeviceBlock> own_scratch;  ///< null if the application manages the scratch memory
  std::shared_ptr<DeviceBlock> persistent;
  const std::shared_ptr<Flight> flight = std::make_shared<Flight>();
  Live live{"context"};
};

/// Returns null if there is no memory.
std::shared_ptr<ContextState> create_context_state(std::shared_ptr<EngineState> engine,
                                                   nvinfer1::ExecutionContextAllocationStrategy strategy);

/// Implements enqueueV3() for an existing context. Propagates the streams' exceptions.
bool enqueue(ContextState& context, cudaStream_t stream);

}  // namespace trtserve::fake::trt
