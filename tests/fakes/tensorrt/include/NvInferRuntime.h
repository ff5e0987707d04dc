#pragma once

// The part of TensorRT's runtime API that the backend uses, for tests on machines without TensorRT. Names and
// signatures are those of TensorRT 8.5.3 and 11.1, so that the backend compiles unchanged against the official headers
// and these; here the methods are virtual, and the libraries beside these headers define them. What both generations
// have in common is in this folder, and what differs in include8 and include11: an include path has one of them, too.
//
// The rest is left out on purpose: a call of a missing function does not compile, and the developer who adds it must
// read its contract in the official header and make the library check it.

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
#include "nvinfer1/runtime.h"
#include "nvinfer1/tensor.h"
