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

/// Who allocates a context's scratch memory: the context, once for all profiles or for each, or the application.
enum class ScratchMemory { ForAllProfiles, ForEachProfile, OfApplication };

/// The state of an IExecutionContext: used by one thread at a time, which contract.h enforces.
struct ContextState {
  ContextState(std::shared_ptr<EngineState> the_engine, ScratchMemory the_scratch_memory);

  const char* gone_ancestor() const { return engine->destroyed ? "engine" : engine->gone_ancestor(); }
  /// The ranges of the profile; none without a profile.
  const Profile& ranges() const;
  size_t index(const Tensor& tensor) const { return static_cast<size_t>(&tensor - plan.tensors.data()); }
  /// The scratch bytes of an execution with these tensor shapes.
  int64_t needed_scratch(const std::vector<Shape>& shapes) const {
    return kScratchFollowsShapes ? plan.scratch_bytes(shapes) : plan.most_scratch_bytes();
  }

  /// Notes a change that invalidates captured graphs: of the profile, the shapes, or the context's life.
  void note_change() { *revision = ++last_revision; }
  /// Notes a new address, memory or allocator. Where contexts cannot share a profile, and graphs are captured from
  /// contexts that go on working, it does not invalidate graphs, which keep what they were captured with.
  void note_setting() {
    if (kProfilesAreShared) note_change();
  }
  /// Notes that the changes so far are on the device. Where contexts cannot share a profile, graphs of the context's
  /// present shapes are valid again.
  void settle();

  const std::shared_ptr<EngineState> engine;
  const Plan& plan;
  const ScratchMemory scratch_memory;
  Reporter reporter;
  std::string name;

  int32_t profile;  ///< -1: none, since another context has the engine's first
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
  /// By tensor, the bytes that the last enqueueV3 found from the data; see kAsksForNeededBytes.
  std::map<size_t, uint64_t> found_bytes;
  /// Shapes or profile have changed since the last enqueueV3: the next one makes updates, which cannot be captured.
  bool changed = true;

  /// The number of the context's state, as captured graphs depend on it.
  const std::shared_ptr<std::atomic<uint64_t>> revision = std::make_shared<std::atomic<uint64_t>>(0);
  uint64_t last_revision = 0;
  /// The numbers of states that have been enqueued, by profile and input shapes.
  std::map<std::pair<int32_t, std::vector<std::optional<Shape>>>, uint64_t> settled;

  void* scratch = nullptr;
  int64_t scratch_bytes = 0;
  std::shared_ptr<DeviceBlock> own_scratch;  ///< null if the scratch memory is the application's
  std::shared_ptr<DeviceBlock> persistent;
  const std::shared_ptr<Flight> flight = std::make_shared<Flight>();
  Live live{"context"};
};

/// Returns null if there is no memory.
std::shared_ptr<ContextState> create_context_state(std::shared_ptr<EngineState> engine, ScratchMemory scratch_memory);

/// Implements setDeviceMemory() and setDeviceMemoryV2() for an existing context.
void provide_scratch(ContextState& context, const char* function, void* memory, int64_t bytes);

/// Implements enqueueV3() for an existing context. Propagates the streams' exceptions.
bool enqueue(ContextState& context, cudaStream_t stream);

}  // namespace trtserve::fake::trt
