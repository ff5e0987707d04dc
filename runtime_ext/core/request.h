#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/util/SmallVector.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/signature.h"

namespace trtserve {

/// Numbers the requests of a process, ascending.
using Ticket = uint64_t;

/// Owns the memory that a request's inputs lie in. It travels with the request and on into its completion
/// untouched, so that it is destroyed only by who takes the completion: there its destructor may need what a
/// worker thread must not have, such as Python's lock.
class InputOwner {
 public:
  virtual ~InputOwner() = default;
};

/// Which requests go first; those of one priority go in the order of their arrival.
enum class Priority : uint8_t { High, Normal, Low };
inline constexpr size_t kPriorities = 3;

/// One client call, owned by the queue from its acceptance on.
struct Request {
  Ticket ticket = 0;
  std::shared_ptr<const Signature> signature;
  /// One an input of the signature: C-contiguous, little-endian, `bytes` long, aligned as it comes.
  c10::SmallVector<const void*, 2> data;
  std::unique_ptr<InputOwner> owner;
  TimePoint arrival;
  std::optional<TimePoint> deadline;  ///< by when its answer must be there
  Priority priority = Priority::Normal;
  bool ended = false;  ///< while it executed: its completion has been pushed, and only its owner is still to be given
};

struct Failure {
  Kind kind;
  std::string message;
};

/// One output of one request: a view on the outputs of its batch.
struct OutputView {
  const void* data;
  size_t bytes;
  c10::ScalarType dtype;
  c10::SmallVector<int64_t, 5> shape;
};

/// The one end of a request. One without a ticket only brings back the owner of a request that ended before its
/// execution did: whose memory was still read.
struct Completion {
  Ticket ticket = 0;
  std::optional<Failure> failure;
  c10::SmallVector<OutputView, 1> outputs;                       ///< in the engine's order; empty on failure
  std::shared_ptr<const std::vector<std::string>> output_names;  ///< one an output
  std::shared_ptr<const std::vector<at::Tensor>> memory;         ///< what the views lie in
  std::unique_ptr<InputOwner> owner;
  Nanoseconds queue{0};
  Nanoseconds compute{0};
  size_t batch_requests = 0;  ///< how many requests ran in its execution; 0 where it did not run
};

}  // namespace trtserve
