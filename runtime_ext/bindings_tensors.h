#pragma once

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <pybind11/pybind11.h>

#include "core/inputs.h"
#include "core/request.h"

namespace trtserve {

/// Holds Python buffers, not their bytes' copies. Made and destroyed with the GIL held; an InputOwner ends
/// where completions are taken, which is Python.
class BufferOwner final : public InputOwner {
 public:
  BufferOwner() = default;
  ~BufferOwner() override;
  BufferOwner(const BufferOwner&) = delete;
  BufferOwner& operator=(const BufferOwner&) = delete;

  /// A view on `object`'s bytes, valid while this lives. InvalidInput unless it is C-contiguous.
  const Py_buffer& hold(const std::string& tensor_name, pybind11::handle object);

 private:
  std::vector<std::unique_ptr<Py_buffer>> buffers_;
};

/// An output tensor as Python sees it: its bytes through the buffer protocol, without a copy.
struct Output {
  std::string name;
  at::Tensor tensor;  ///< contiguous, on the host
};

/// Name, datatype, shape, buffer.
using InputTuple = std::tuple<std::string, std::string, std::vector<int64_t>, pybind11::object>;

std::vector<HostTensor> host_tensors(const std::vector<InputTuple>& inputs, BufferOwner& owner);

void bind_tensors(pybind11::module_& module);

}  // namespace trtserve
