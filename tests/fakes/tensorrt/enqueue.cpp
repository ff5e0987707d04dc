#include <algorithm>
#include <utility>

#include "context_state.h"
#include "contract.h"
#include "device_memory.h"
#include "execution.h"
#include "gate.h"
#include "graph.h"
#include "inference.h"
#include "kernels.h"
#include "pattern.h"

// enqueueV3: checks the preconditions in order, then enqueues the work.

namespace trtserve::fake::trt {

using nvinfer1::ErrorCode;

namespace {

constexpr const char* kFunction = "enqueueV3";
constexpr uintptr_t kAlignment = 256;
constexpr uint64_t kTemporaryPattern = 0x3CC3'3CC3'3CC3'3CC3;

/// One call of enqueueV3. `addresses` and `shapes` are those of the execution: an output allocator may change both.
class Enqueue {
 public:
  Enqueue(ContextState& context, cudaStream_t handle, Stream& stream)
      : context_(context), handle_(handle), stream_(stream), inference_(infer(context)) {}

  bool run() {
    const bool changed = context_.changed;
    if (!check_shapes() || !check_addresses() || !check_profile() || !check_scratch() || !check_kernels()) return false;
    if (stream_.capturing() && !check_capture(changed)) {
      invalidate_capture(stream_);
      return false;
    }
    if (fails_on_value() || !size_outputs() || !check_memory()) return false;
    if (stream_.capturing() && !context_.plan.capture_gate.empty()) toy::pass_gate(context_.plan.capture_gate);
    launch();
    if (const auto* reason = context_.plan.failure("late")) return fail(*reason);
    context_.changed = false;
    context_.seen_values.clear();
    return true;
  }

 private:
  const std::vector<Tensor>& tensors() const { return context_.plan.tensors; }

  template <class... Parts>
  bool misuse(const Parts&... parts) {
    context_.reporter.misuse(kFunction, parts...);
    return false;
  }
  bool fail(const std::string& sentence) {
    context_.reporter.error(ErrorCode::kFAILED_EXECUTION, kFunction, "Internal Error", sentence);
    return false;
  }

  bool check_shapes() {
    if (context_.profile < 0) return misuse("the context has no profile: another context has it");
    for (const auto* input : inference_.missing) misuse("input '", input->name, "' has no shape, or no address");
    if (!inference_.missing.empty()) return false;
    if (!inference_.error.empty()) return misuse(inference_.error);
    for (size_t i = 0; i < tensors().size(); ++i) {
      if (!tensors()[i].is_input()) continue;
      const auto wrong = objection(context_, tensors()[i], inference_.shapes[i]);
      if (!wrong.empty()) return misuse(wrong);
    }
    for (const auto& [index, values] : context_.seen_values) {
      if (values == inference_.values.at(index)) continue;
      return misuse("the values of input '", tensors()[index].name, "' have changed since shapes were inferred, from ",
                    format(values), " to ", format(inference_.values.at(index)));
    }
    return true;
  }

  bool check_addresses() {
    for (size_t i = 0; i < tensors().size(); ++i) {
      const bool allocated = context_.allocators[i] != nullptr;
      if (context_.addresses[i] == nullptr && !allocated)
        return misuse("tensor '", tensors()[i].name, "' has no address");
      if (tensors()[i].kind == Kind::Nonzero && !allocated) {
        return misuse("output '", tensors()[i].name, "' has a size that depends on the data, and no output allocator");
      }
    }
    return true;
  }

  bool check_profile() {
    if (context_.profile_ready == nullptr || *context_.profile_ready || context_.profile_stream == &stream_)
      return true;
    return misuse("the profile is being set on another stream, which was not waited for");
  }

  bool check_scratch() {
    scratch_bytes_ = context_.needed_scratch(inference_.shapes);
    if (scratch_bytes_ == 0 || scratch_bytes_ <= context_.scratch_bytes) return true;
    if (context_.scratch == nullptr) return misuse("the context has no scratch memory");
    return misuse("the scratch memory has ", context_.scratch_bytes, " bytes, and these shapes need ", scratch_bytes_);
  }

  bool check_kernels() {
    for (const auto& tensor : tensors()) {
      if (!computable(tensor.type)) return fail("the fake has no kernels for " + datatype_name(tensor.type));
      if (tensor.chw32) return fail("the fake has no kernels for vectorized formats");
    }
    const auto* const reason = context_.plan.failure("enqueue");
    return reason == nullptr || fail(*reason);
  }

  bool check_capture(bool changed) {
    if (changed) {
      // The change needs work outside the stream's order.
      return misuse("captured right after a change of shapes or profile: enqueue once before");
    }
    const bool data_dependent = std::any_of(tensors().begin(), tensors().end(),
                                            [](const Tensor& tensor) { return tensor.kind == Kind::Nonzero; });
    if (context_.plan.capture_allocates && DeviceBlock::allocate(context_.engine->allocator, 256) == nullptr) {
      return fail("the capture got no memory");
    }
    if (context_.plan.graph != GraphMode::Refuse && !data_dependent) return true;
    context_.reporter.error(ErrorCode::kUNSPECIFIED_ERROR, kFunction, "Cuda Runtime",
                            "operation not permitted when stream is capturing");
    return false;
  }

  bool fails_on_value() {
    if (!context_.plan.fail_on || stream_.capturing()) return false;
    for (size_t i = 0; i < tensors().size(); ++i) {
      if (!tensors()[i].is_input()) continue;
      if (element_count(inference_.shapes[i]) == 0) return false;
      stream_.synchronize();
      if (first_element(tensors()[i].type, context_.addresses[i]) != *context_.plan.fail_on) return false;
      return !fail("the input has the value of fail_on");
    }
    return false;
  }

  /// Reports sizes to the output allocators, and uses the memory that they return.
  bool size_outputs() {
    addresses_ = context_.addresses;
    for (size_t i = 0; i < tensors().size(); ++i) {
      if (tensors()[i].kind == Kind::Nonzero) count_elements(i);
      if (context_.allocators[i] != nullptr && !ask_allocator(i)) return false;
    }
    return true;
  }

  /// The output's size is known only once its input is ready.
  void count_elements(size_t index) {
    stream_.synchronize();
    const size_t input = tensors()[index].first;
    const int64_t count = element_count(inference_.shapes[input]);
    inference_.shapes[index] = {count_nonzero(tensors()[input].type, context_.addresses[input], count)};
  }

  /// The bytes that TensorRT asks an allocator for, where the output needs `bytes`.
  uint64_t asked_bytes(size_t index, uint64_t bytes) {
    if (kAsksForNeededBytes || tensors()[index].kind != Kind::Nonzero) return std::max<uint64_t>(bytes, 1);
    const uint64_t last = std::exchange(context_.found_bytes[index], bytes);
    return last == 0 ? 512 : last;
  }

  bool ask_allocator(size_t index) {
    const auto& output = tensors()[index];
    const auto bytes = static_cast<uint64_t>(element_count(inference_.shapes[index])) * size_of(output.type);
    auto& allocator = *context_.allocators[index];
    count_call("reallocateOutput");
    addresses_[index] = reallocate(allocator, output.name.c_str(), context_.addresses[index], asked_bytes(index, bytes),
                                   kAlignment, handle_);
    if (addresses_[index] == nullptr) {
      context_.reporter.error(ErrorCode::kFAILED_ALLOCATION, kFunction, "OutOfMemory", "No memory for output ",
                              output.name);
      return false;
    }
    if (reinterpret_cast<uintptr_t>(addresses_[index]) % kAlignment != 0) {
      return misuse("the memory for output '", output.name, "' is not aligned to ", kAlignment, " bytes");
    }
    if (context_.plan.failure("notify") == nullptr) {
      allocator.notifyShape(output.name.c_str(), to_dims(inference_.shapes[index]));
      if (output.kind == Kind::Nonzero) context_.found_shapes[index] = inference_.shapes[index];
    }
    return true;
  }

  /// A tensor's memory is at its address at the time of the call; later, its owner frees it in stream order.
  bool check_memory() {
    for (size_t i = 0; i < tensors().size(); ++i) {
      const auto bytes = static_cast<size_t>(element_count(inference_.shapes[i])) * size_of(tensors()[i].type);
      if (bytes == 0 || tensors()[i].on_host() || device_memory().bytes_from(addresses_[i]) >= bytes) continue;
      return misuse("the address of tensor '", tensors()[i].name, "' does not point to ", bytes,
                    " bytes of device memory");
    }
    return true;
  }

  /// Allocates memory that the work uses until end_temporary().
  void* begin_temporary() {
    const int64_t bytes = context_.plan.temporary;
    if (bytes == 0) return nullptr;
    void* const memory = allocate(*context_.engine->allocator, static_cast<uint64_t>(bytes), kAlignment);
    stream_.enqueue([=] { fill(memory, bytes, kTemporaryPattern); });
    return memory;
  }

  void end_temporary(void* memory) {
    stream_.enqueue([memory, bytes = context_.plan.temporary] {
      if (!filled(memory, bytes, kTemporaryPattern)) breached("enqueueV3: memory was reused that the work still used");
    });
    deallocate(*context_.engine->allocator, memory);
  }

  void launch() {
    context_.settle();
    count_call(("enqueueV3 on profile " + std::to_string(context_.profile)).c_str());
    const auto& engine = context_.engine;
    auto execution = std::make_shared<Execution>(
        Execution::Setup{engine->plan, inference_.shapes, addresses_, context_.scratch, scratch_bytes_, engine->weights,
                         context_.persistent, context_.flight, context_.revision});
    if (stream_.capturing()) {
      add_to_capture(stream_, execution);
      stream_.enqueue(execution->work(true));
    } else {
      execution->begin(kFunction, stream_);
      auto* const temporary = begin_temporary();
      stream_.enqueue(execution->work(false));
      if (temporary != nullptr) end_temporary(temporary);
    }
  }

  ContextState& context_;
  const cudaStream_t handle_;
  Stream& stream_;
  Inference inference_;
  std::vector<void*> addresses_;
  int64_t scratch_bytes_ = 0;
};

}  // namespace

bool enqueue(ContextState& context, cudaStream_t handle) {
  if (handle == nullptr) {
    // Allowed, but TensorRT then waits for the whole device, and the fake device's default stream is not accessible.
    context.reporter.misuse(kFunction, "called for the default stream");
    return false;
  }
  auto* const stream = stream_of(handle);
  return stream != nullptr && Enqueue(context, handle, *stream).run();
}

}  // namespace trtserve::fake::trt
