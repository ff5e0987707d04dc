#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/util/SmallVector.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/execution_times.h"
#include "core/host_copy.h"
#include "core/made_call.h"
#include "core/signature.h"

namespace trtserve {

/// Numbers the requests of a process, ascending.
using Ticket = uint64_t;

/// Owns the memory and the files of a request's inputs. It moves with the request into its completion, so that only the
/// thread that takes the completion destroys it: its destructor may need what a worker thread must not hold, such as
/// Python's GIL.
class InputOwner {
 public:
  virtual ~InputOwner() = default;
};

/// Which requests go first; requests of equal priority go in the order of arrival.
enum class Priority : uint8_t { High, Normal, Low };
inline constexpr size_t kPriorities = 3;

/// One client call; the queue owns it once it is accepted.
struct Request {
  Ticket ticket = 0;
  std::shared_ptr<const Signature> signature;
  /// One for each input of the signature: C-contiguous, little-endian, `bytes` long, of any alignment.
  c10::SmallVector<HostBytes, 2> data;
  std::unique_ptr<InputOwner> owner;
  TimePoint arrival;
  std::optional<TimePoint> deadline;  ///< the answer must be ready by then
  Priority priority = Priority::Normal;
  bool ended =
      false;  ///< during its execution: its completion has been pushed, and only its owner remains to be returned
};

struct Failure {
  Kind kind;
  std::string message;
};

/// One output of one request: a view of its batch's outputs.
struct OutputView {
  const void* data;
  size_t bytes;
  c10::ScalarType dtype;
  c10::SmallVector<int64_t, 5> shape;
};

/// The one end of a request. A completion without a ticket only returns the owner of a request that ended before its
/// execution did, because the execution was still reading its memory.
struct Completion {
  Ticket ticket = 0;
  std::optional<Failure> failure;
  c10::SmallVector<OutputView, 1> outputs;                       ///< in the engine's order; empty on failure
  std::shared_ptr<const std::vector<std::string>> output_names;  ///< one per output
  std::shared_ptr<const std::vector<at::Tensor>> memory;         ///< the tensors that the views refer to
  std::unique_ptr<InputOwner> owner;
  Nanoseconds queue{0};
  Nanoseconds compute{0};
  size_t batch_requests = 0;  ///< how many requests shared its execution; 0 if it did not run
  TimePoint arrival{};        ///< of the request; as those below, only where it is known
  ExecutionTimes times{};
  std::shared_ptr<const MadeCalls> calls;  ///< that a module made in its execution; null if none
  uint64_t execution = 0;                  ///< numbers the executions of a process; requests of one batch have one
};

}  // namespace trtserve
