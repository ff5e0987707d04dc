#pragma once

#include "nvinfer1/interface.h"

namespace nvinfer1 {

namespace v_1_0 {

/// Implemented by the application; thread safe; outlives every object of its runtime.
class ILogger : public IVersionedInterface {
 public:
  InterfaceInfo getInterfaceInfo() const noexcept override { return {"ILogger", 1, 0}; }

  enum class Severity : int32_t { kINTERNAL_ERROR = 0, kERROR = 1, kWARNING = 2, kINFO = 3, kVERBOSE = 4 };

  virtual void log(Severity severity, AsciiChar const* msg) noexcept = 0;

  ILogger() = default;
  ~ILogger() override = default;

 protected:
  ILogger(ILogger const&) = default;
  ILogger(ILogger&&) = default;
  ILogger& operator=(ILogger const&) & = default;
  ILogger& operator=(ILogger&&) & = default;
};

}  // namespace v_1_0

using ILogger = v_1_0::ILogger;

}  // namespace nvinfer1
