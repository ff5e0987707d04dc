#pragma once

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <pybind11/pybind11.h>

#include "core/engine.h"
#include "core/request.h"

namespace trtserve {

/// A request but for its data, checked once: what requests that are alike are submitted with.
struct Prepared {
  EngineId engine;
  std::shared_ptr<const Signature> signature;
};

/// A request on `prepared`, that holds `data` and points into it. `data` is a tuple of buffers, one for each tensor
/// in the order in which they were described, or one buffer that has them one after the other from `offset` to its
/// end. With the GIL. InvalidInput where lengths do not fit.
Request make_request(const Prepared& prepared, pybind11::handle data, size_t offset);

/// An output tensor as Python sees it: its bytes through the buffer protocol, without a copy.
struct Output {
  std::string name;
  OutputView view;  ///< contiguous, on the host
  std::shared_ptr<const std::vector<at::Tensor>> memory;
};

std::vector<Output> outputs_of(const Completion& completion);

/// The shapes of a completion's outputs, a tuple of tuples: to look up what was made for such outputs before.
pybind11::tuple shapes_of(const Completion& completion);

/// Of all outputs of its batch, which are there as long as a view on one of them is: what tells them from those of
/// other batches, and their bytes.
std::pair<uintptr_t, size_t> memory_of(const Completion& completion);

/// Output `index`'s bytes: a copy where it is small, else a view.
pybind11::object data_of(const Completion& completion, size_t index);

/// Name, datatype, shape.
using DescribedTensor = std::tuple<std::string, std::string, std::vector<int64_t>>;

std::vector<TensorShape> tensor_shapes(const std::vector<DescribedTensor>& tensors);

void bind_tensors(pybind11::module_& module);

}  // namespace trtserve
