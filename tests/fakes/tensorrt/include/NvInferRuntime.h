#pragma once

// TensorRT's runtime API, as far as the backend uses it, for tests on machines without TensorRT. Names and
// signatures are those of TensorRT 11.1, so that the backend compiles unchanged against the official headers and
// against these; here the methods are virtual, and the library beside these headers defines them.
//
// What is left out is left out on purpose: a call of something new fails to compile, and whoever adds it reads
// in the official header what it demands and has the library check it.

#include "nvinfer1/engine.h"
#include "nvinfer1/engine_inspector.h"
#include "nvinfer1/error_recorder.h"
#include "nvinfer1/execution_context.h"
#include "nvinfer1/gpu_allocator.h"
#include "nvinfer1/host_memory.h"
#include "nvinfer1/interface.h"
#include "nvinfer1/library.h"
#include "nvinfer1/logger.h"
#include "nvinfer1/output_allocator.h"
#include "nvinfer1/plugin_registry.h"
#include "nvinfer1/runtime.h"
#include "nvinfer1/tensor.h"
