#pragma once

// The part of TensorRT's builder API that the backend uses, as NvInferRuntime.h is of the runtime's.

#include "NvInferRuntime.h"
#include "nvinfer1/builder.h"
#include "nvinfer1/builder_config.h"
#include "nvinfer1/network.h"
#include "nvinfer1/progress_monitor.h"
