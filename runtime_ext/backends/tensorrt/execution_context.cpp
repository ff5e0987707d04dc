#include "backends/tensorrt/execution_context.h"

#include <algorithm>
#include <optional>

#include <ATen/Functions.h>

#include "backends/tensorrt/cuda_graph.h"
#include "backends/tensorrt/device_scope.h"
#include "backends/tensorrt/generation.h"
#include "backends/tensorrt/logger.h"
#include "backends/tensorrt/profiles.h"
#include "core/device_health.h"
#include "core/error.h"
#include "core/memory.h"

namespace trtserve::tensorrt {

namespace {

using TensorList = std::vector<at::Tensor>;

TensorList aligned(c10::ArrayRef<at::Tensor> inputs) {
  TensorList tensors = inputs.vec();
  for (auto& tensor : tensors) {
    if (!tensor.is_cpu() && reinterpret_cast<uintptr_t>(tensor.const_data_ptr()) % kTensorAlignment != 0) {
      tensor = tensor.clone();
    }
  }
  return tensors;
}

int64_t bytes_of(const TensorList& tensors) {
  int64_t bytes = 0;
  for (const auto& tensor : tensors) bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

TensorList copies(const TensorList& tensors) {
  TensorList all;
  all.reserve(tensors.size());
  for (const auto& tensor : tensors) all.push_back(tensor.clone());
  return all;
}

/// True if `right` equals `left` except for the last digits: kernels may add in a different order each time. The
/// tolerance for small numbers depends on the tensor's largest number, so that only zeros are close to zeros.
bool is_close(const at::Tensor& left, const at::Tensor& right) {
  if (!left.is_floating_point() || left.numel() == 0) return at::equal(left, right);
  const at::Tensor wide = left.to(at::kDouble);
  const double largest = at::nan_to_num(wide, 0, 0, 0).abs().max().item<double>();
  return at::allclose(wide, right.to(at::kDouble), 1e-2, 1e-3 * largest, /*equal_nan=*/true);
}

/// True if two executions of the same inputs gave the same outputs. Waits for the stream.
bool agree(const TensorList& a, const TensorList& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!is_close(a[i].cpu(), b[i].cpu())) return false;
  }
  return true;
}

/// Waits for the enqueued work, which may use what is discarded next.
template <typename Stream>
void wait(const Stream& stream) noexcept {
  try {
    stream.synchronize();
  } catch (...) {  // NOLINT(bugprone-empty-catch): a dead device runs nothing
  }
}

/// Frees the graphs of the other instances of an engine if, during its lifetime, the engine gives up graphs.
class WhenGraphsEnd {
 public:
  explicit WhenGraphsEnd(TensorRtEngine& engine) : engine_(engine), enabled_(engine.graph_policy().enabled()) {}
  ~WhenGraphsEnd() {
    if (enabled_ && !engine_.graph_policy().enabled()) engine_.free_graphs();
  }
  WhenGraphsEnd(const WhenGraphsEnd&) = delete;
  WhenGraphsEnd& operator=(const WhenGraphsEnd&) = delete;

 private:
  TensorRtEngine& engine_;
  const bool enabled_;
};

}  // namespace

TensorRtContext::TensorRtContext(TensorRtEngine& engine, size_t copy)
    : engine_(engine),
      copy_(copy),
      own_(engine.create_stream()),
      stream_(own_->stream()),
      done_(engine.cuda(), engine.wait()),
      blank_(at::empty({kTensorAlignment}, at::TensorOptions().dtype(at::kByte).device(engine.device()))),
      scratch_(engine.device(), stream_, engine.mutable_counters().scratch_bytes) {
  const c10::StreamGuard on(stream_);
  clear_errors();
  for (int32_t profile = 0; profile < engine.tensors().profiles; ++profile) {
    contexts_.push_back(engine.create_profile_context(copy_, profile, stream_));
  }
  engine.add(*this);
}

TensorRtContext::~TensorRtContext() {
  engine_.remove(*this);
  synchronize();
  const DeviceScope on(engine_.device());
  graphs_.clear();
  contexts_.clear();
}

void TensorRtContext::synchronize() noexcept {
  try {
    done_.wait();
  } catch (...) {  // NOLINT(bugprone-empty-catch): the reader of the outputs gets the device's error
  }
}

bool TensorRtContext::idle() const noexcept {
  try {
    return done_.passed();
  } catch (...) {
    return true;  // a dead device has nothing to wait for
  }
}

void TensorRtContext::free_graphs() noexcept {
  const std::unique_lock lock(working_, std::try_to_lock);
  if (!lock || !idle()) return;
  const DeviceScope on(engine_.device());
  graphs_.clear();
}

std::vector<at::Tensor> TensorRtContext::execute(c10::ArrayRef<at::Tensor> inputs) {
  const WhenGraphsEnd freeing(engine_);
  const std::lock_guard lock(working_);
  return execute_alone(inputs, engine_.graph_policy().mode());
}

void TensorRtContext::warm_up(c10::ArrayRef<at::Tensor> inputs) {
  {
    const WhenGraphsEnd freeing(engine_);
    const std::lock_guard lock(working_);
    // Captures what an engine with `auto` would capture once the shapes have come a few times.
    execute_alone(inputs, engine_.graph_policy().mode() == GraphMode::Off ? GraphMode::Off : GraphMode::On);
  }
  synchronize();
}

/// `mode`: when a graph is captured.
TensorList TensorRtContext::execute_alone(c10::ArrayRef<at::Tensor> inputs, GraphMode mode) {
  clear_errors();
  const int32_t profile = choose_profile(engine_.tensors(), inputs);
  const StreamScope scope(engine_.device(), stream_, inputs);
  const auto key = GraphCache::key(profile, inputs);
  wait_for_last(key, scope.handle());
  TensorList outputs;
  try {
    outputs = run(profile, aligned(inputs), key, scope, mode);
  } catch (const c10::OutOfMemoryError&) {
    done_.record(scope.handle());  // a replay may have begun
    throw;
  }
  done_.record(scope.handle());
  // Outputs on the host are ready once the work is done, and stream order does not cover them.
  const auto on_host = [](const at::Tensor& output) { return output.is_cpu(); };
  if (std::any_of(outputs.begin(), outputs.end(), on_host)) done_.wait();
  scope.hand_over(outputs);
  return outputs;
}

/// Waits for the last execution, unless this one has the same shapes and comes after it on the same stream: then the
/// host need not wait, and the device does not run out of work. Anything else changes what that work may still use:
/// shapes, values on the host, scratch memory.
void TensorRtContext::wait_for_last(const GraphCache::Key& key, cudaStream_t stream) {
  const auto& context = contexts_[static_cast<size_t>(key.front())];
  const bool follows = last_.stream == stream && last_.key == key && context && context->has_fixed_outputs();
  if (!follows) synchronize();
  last_ = {stream, key};
}

TensorList TensorRtContext::run(int32_t profile, const TensorList& inputs, const GraphCache::Key& key,
                                const StreamScope& scope, GraphMode mode) {
  auto& policy = engine_.graph_policy();
  if (!policy.enabled()) {
    if (!graphs_.empty()) graphs_.clear();  // given up while this instance worked
    return run_plain(profile, inputs, scope.stream());
  }
  if (auto* entry = graphs_.use(key, scratch_.generation())) {
    if (!is_ready(*entry, profile, inputs)) return run_plain(profile, inputs, scope.stream());
    try {
      return replay(*entry, inputs, scope.handle());
    } catch (const c10::OutOfMemoryError&) {
      throw;  // the graph is still valid
    } catch (const std::exception& error) {
      // An execution's only effect is its outputs, so a plain one can still run.
      wait(scope.stream());
      policy.disable(engine_.label(), c10::str("a replay failed: ", reason_of(error)));
      graphs_.clear();
      clear_errors();
      return run_plain(profile, inputs, scope.stream());
    }
  }
  auto outputs = run_plain(profile, inputs, scope.stream());
  if (!graphs_.admits(key, mode)) return outputs;
  if (contexts_[static_cast<size_t>(profile)]->has_fixed_outputs()) {
    capture(profile, inputs, outputs, key, scope.stream());
  } else {
    policy.disable(engine_.label(), "it has tensors on the host, or outputs whose shape depends on values");
  }
  return outputs;
}

/// A graph without its own context reads what the instance's context keeps on the device for its shapes.
bool TensorRtContext::is_ready(const GraphCache::Entry& entry, int32_t profile, const TensorList& inputs) const {
  if (entry.context) return true;
  const auto& context = contexts_[static_cast<size_t>(profile)];
  return context && context->has_shapes_of(inputs);
}

ProfileContext& TensorRtContext::prepare(int32_t profile, const TensorList& inputs) {
  auto& context = contexts_[static_cast<size_t>(profile)];
  if (!context) context = engine_.create_profile_context(copy_, profile, stream_);
  prepare(*context, inputs);
  return *context;
}

void TensorRtContext::prepare(ProfileContext& context, const TensorList& inputs) {
  context.prepare(inputs);
  scratch_.reserve(context.scratch_bytes());
  context.provide_scratch(scratch_.data(), scratch_.size());
}

TensorList TensorRtContext::run_plain(int32_t profile, const TensorList& inputs, c10::Stream stream) {
  TensorList outputs;  // outlives its work, even if that fails
  try {
    auto& context = prepare(profile, inputs);
    outputs = context.new_outputs();
    context.enqueue(inputs, outputs, blank_.mutable_data_ptr(), static_cast<cudaStream_t>(stream.native_handle()));
    return outputs;
  } catch (const c10::OutOfMemoryError&) {
    throw;  // torch had no memory, so the context is unchanged
  } catch (const Error& error) {
    if (error.kind() != Kind::InvalidInput) discard(profile, stream);
    throw;
  } catch (...) {
    discard(profile, stream);
    throw;
  }
}

TensorList TensorRtContext::replay(GraphCache::Entry& entry, const TensorList& inputs, cudaStream_t handle) {
  {
    // One thread may capture and another replay, with or without inference mode: both may write to the inputs only if
    // they were made in it.
    const c10::InferenceMode inference;
    for (size_t i = 0; i < inputs.size(); ++i) entry.inputs[i].copy_(inputs[i], /*non_blocking=*/true);
  }
  entry.graph.launch(handle);
  ++engine_.mutable_counters().cuda_graph_replays;
  return copies(entry.outputs);
}

/// Captures a graph for these inputs. `expected` holds the plain execution's outputs, which the request already has: a
/// failure here costs only the graph.
void TensorRtContext::capture(int32_t profile, const TensorList& inputs, const TensorList& expected,
                              const GraphCache::Key& key, c10::Stream stream) {
  auto& policy = engine_.graph_policy();
  // These outlive their work, even if that fails.
  std::unique_ptr<ProfileContext> own;
  TensorList fixed_inputs;
  TensorList fixed_outputs;
  std::optional<CaptureStream> capturing;
  stream.synchronize();  // ends the plain execution before the scratch memory changes
  try {
    capturing.emplace(engine_.cuda());
    if (generation::kProfilesAreShared) own = engine_.create_profile_context(copy_, profile, stream_);
    auto& context = own ? *own : *contexts_[static_cast<size_t>(profile)];
    prepare(context, inputs);
    fixed_inputs = copies(inputs);
    fixed_outputs = context.new_outputs();
    stream.synchronize();  // the capture's stream is not ordered after this one
    const int64_t outside = outside_allocator(stream.device());
    CudaGraph graph = capture(context, *capturing, fixed_inputs, fixed_outputs);
    const int64_t bytes = std::max<int64_t>(0, outside_allocator(stream.device()) - outside) + bytes_of(fixed_inputs) +
                          bytes_of(fixed_outputs);
    // Fill with wrong values (zero where it was not, one where it was), so that a graph that does nothing is detected.
    for (size_t i = 0; i < fixed_outputs.size(); ++i) fixed_outputs[i].copy_(expected[i].logical_not());
    graph.launch(static_cast<cudaStream_t>(stream.native_handle()));
    if (agree(expected, fixed_outputs)) {
      ++engine_.mutable_counters().cuda_graph_captures;
      graphs_.put(key, {std::move(own),
                        std::move(fixed_inputs),
                        std::move(fixed_outputs),
                        scratch_.generation(),
                        std::move(graph),
                        {engine_.mutable_counters().graph_bytes, bytes}});
      return;
    }
    policy.disable(engine_.label(), "a replay gave other outputs than the plain execution of the same inputs");
  } catch (const c10::OutOfMemoryError&) {
    policy.disable(engine_.label(), "the device has too little memory for a graph's inputs and outputs");
  } catch (const std::exception& error) {
    policy.disable(engine_.label(), reason_of(error));
  }
  if (capturing) wait(*capturing);
  wait(stream);
  clear_errors();
  if (!generation::kProfilesAreShared) discard(profile, stream);
}

CudaGraph TensorRtContext::capture(ProfileContext& context, const CaptureStream& stream, const TensorList& inputs,
                                   TensorList& outputs) {
  const auto enqueue = [&] { context.enqueue(inputs, outputs, blank_.mutable_data_ptr(), stream.handle()); };
  enqueue();  // TensorRT defers work after a change of shapes, which must not be captured
  stream.synchronize();
  return {engine_.cuda(), stream, enqueue};
}

void TensorRtContext::discard(int32_t profile, c10::Stream stream) noexcept {
  wait(stream);
  auto& context = contexts_[static_cast<size_t>(profile)];
  if (context) ++engine_.mutable_counters().contexts_discarded;
  if (!generation::kProfilesAreShared) graphs_.clear();  // this profile's graphs use the context
  context.reset();
}

}  // namespace trtserve::tensorrt
