#pragma once

#include "nvinfer1/interface.h"
#include "nvinfer1/tensor.h"

namespace nvinfer1 {

class IHostMemory : public INoCopy {
 public:
  ~IHostMemory() noexcept override = default;
  virtual void* data() const noexcept = 0;
  virtual std::size_t size() const noexcept = 0;
  virtual DataType type() const noexcept = 0;
};

}  // namespace nvinfer1
