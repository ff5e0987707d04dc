#pragma once

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <pybind11/pybind11.h>

#include "core/engine.h"
#include "core/request.h"

namespace trtserve {

/// A request's description, checked once, for submitting any number of requests that share it.
struct Prepared {
  EngineId engine;
  std::shared_ptr<const Signature> signature;
};

/// Creates a request on `prepared` that holds `data` and points into it. `data` is a tuple of buffers and FileParts,
/// one for each tensor in the described order, or one buffer that holds them consecutively from `offset` to its end.
/// Call with the GIL. InvalidInput if lengths do not match.
Request make_request(const Prepared& prepared, pybind11::handle data, size_t offset);

/// An output tensor for Python, with its bytes through the buffer protocol, without a copy.
struct Output {
  std::string name;
  OutputView view;  ///< contiguous, on the host
  std::shared_ptr<const std::vector<at::Tensor>> memory;
};

std::vector<Output> outputs_of(const Completion& completion);

/// The shapes of a completion's outputs as a tuple of tuples, usable as a cache key.
pybind11::tuple shapes_of(const Completion& completion);

/// An identifier and the size in bytes of the memory of all outputs of the batch; a view of one output keeps all of it.
std::pair<uintptr_t, size_t> memory_of(const Completion& completion);

/// The bytes of output `index`: a copy if it is small, otherwise a view.
pybind11::object data_of(const Completion& completion, size_t index);

/// A tensor's name, datatype and shape.
using DescribedTensor = std::tuple<std::string, std::string, std::vector<int64_t>>;

std::vector<TensorShape> tensor_shapes(const std::vector<DescribedTensor>& tensors);

void bind_tensors(pybind11::module_& module);

}  // namespace trtserve
