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

/// What is behind an IExecutionContext: used by one thread at a time, which contract.h sees to.
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
  /// A change of profile is work on a stream, too: which stream, and whether it is done.
  const Stream* profile_stream = nullptr;
  std::shared_ptr<std::atomic<bool>> profile_ready;

  // One a tensor of the plan, in its order.
  std::vector<std::optional<Shape>> input_shapes;  ///< that were set
  std::vector<void*> addresses;
  std::vector<nvinfer1::IOutputAllocator*> allocators;

  /// The values of the shape inputs when shapes were last asked for since the last enqueueV3; by tensor.
  std::map<size_t, Shape> seen_values;
  /// Shapes that the last enqueueV3 found out of the data. The real library (8.5.3) goes on telling them afterwards,
  /// also for other shapes of the inputs.
  std::map<size_t, Shape> found_shapes;
  /// Shapes or profile are other ones than the last enqueueV3 saw: the next one has updates to make, which a
  /// capture does not take.
  bool changed = true;

  /// Counts the calls that change the context, whatever to: graphs that were captured before one are no good.
  const std::shared_ptr<std::atomic<uint64_t>> revision = std::make_shared<std::atomic<uint64_t>>(0);

  void* scratch = nullptr;
  int64_t scratch_bytes = 0;
  std::shared_ptr<DeviceBlock> own_scratch;  ///< null where the application manages the scratch memory
  std::shared_ptr<DeviceBlock> persistent;
  const std::shared_ptr<Flight> flight = std::make_shared<Flight>();
  Live live{"context"};
};

/// Null where there is no memory.
std::shared_ptr<ContextState> create_context_state(std::shared_ptr<EngineState> engine,
                                                   nvinfer1::ExecutionContextAllocationStrategy strategy);

/// enqueueV3() of a context that lives. Throws what the streams throw.
bool enqueue(ContextState& context, cudaStream_t stream);

}  // namespace trtserve::fake::trt
