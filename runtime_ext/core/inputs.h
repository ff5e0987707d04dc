#pragma once

#include <string>
#include <vector>

#include "core/engine.h"

namespace trtserve {

/// A tensor in host memory as a client names it: C-contiguous, little-endian. Owns nothing.
struct HostTensor {
  std::string name;
  std::string datatype;
  std::vector<int64_t> shape;
  const void* data;
  size_t bytes;
};

/// The engine's inputs in its own order, as views on the buffers (a buffer that is not aligned for its
/// datatype is copied). InvalidInput, naming the tensor, for an unknown, missing or repeated name, a wrong
/// datatype, rank or shape, or a buffer of another length than shape and datatype say.
std::vector<at::Tensor> bind_inputs(const Engine& engine, const std::vector<HostTensor>& tensors);

}  // namespace trtserve
