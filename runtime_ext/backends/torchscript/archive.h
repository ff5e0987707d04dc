#pragma once

#include <string>

#include <torch/csrc/jit/api/module.h>

namespace trtserve::torchscript {

/// A TorchScript archive, read.
struct Archive {
  torch::jit::Module module;
  std::string description;  ///< the JSON document inside; empty if there is none
};

/// Reads a file of torch.jit.save() without running any of its code, its tensors on `device`. torch.jit.load() would
/// run `__setstate__`. InvalidInput if the file is not such an archive, or if it has anything that is not allowed.
Archive read_archive(const std::string& path, at::Device device);

}  // namespace trtserve::torchscript
