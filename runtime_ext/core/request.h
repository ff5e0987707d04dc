#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/clock.h"
#include "core/error.h"

namespace trtserve {

/// Numbers the requests of a process.
using Ticket = uint64_t;

/// Owns the memory that a request's inputs are views of. It travels with the request and on into its
/// completion untouched, so that it is destroyed only by who takes the completion: there its destructor may
/// need what a worker thread must not have, such as Python's lock.
class InputOwner {
 public:
  virtual ~InputOwner() = default;
};

/// One client call, owned by the queue from its acceptance on.
struct Request {
  Ticket ticket = 0;
  std::vector<at::Tensor> inputs;
  std::unique_ptr<InputOwner> owner;
  TimePoint arrival;
  std::optional<TimePoint> deadline;  ///< by when its execution must have begun
};

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

struct Failure {
  Kind kind;
  std::string message;
};

/// The one end of a request.
struct Completion {
  Ticket ticket = 0;
  std::optional<Failure> failure;
  std::vector<NamedTensor> outputs;  ///< empty on failure
  std::unique_ptr<InputOwner> owner;
  Nanoseconds queue{0};
  Nanoseconds compute{0};
};

}  // namespace trtserve
