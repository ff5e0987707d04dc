"""Configs as they are found in Triton's repositories of models."""

RESNET = b"""
name: "resnet50"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [
  {
    name: "x"
    data_type: TYPE_FP32
    format: FORMAT_NCHW
    dims: [ 3, 224, 224 ]
  }
]
output [
  {
    name: "y"
    data_type: TYPE_FP32
    dims: [ 1000 ]
    label_filename: "labels.txt"
  }
]
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 100
  default_queue_policy { max_queue_size: 32 }
}
instance_group [
  {
    count: 2
    kind: KIND_CPU
    rate_limiter { resources [ { name: "R1" count: 4 } ] priority: 2 }
  }
]
version_policy: { latest { num_versions: 2 } }
optimization { graph { level: 1 } }
parameters { key: "intra_op_thread_count" value: { string_value: "4" } }
model_warmup [
  {
    name: "zeros"
    batch_size: 1
    inputs { key: "x" value: { data_type: TYPE_FP32 dims: [ 3, 224, 224 ] zero_data: true } }
  }
]
"""

PLAN = b"""
platform: "tensorrt_plan"
max_batch_size: 16
input { name: "x" data_type: TYPE_FP16 dims: [ 3, -1, -1 ] }
output { name: "y" data_type: TYPE_FP16 dims: [ 10 ] }
instance_group { count: 1 gpus: [ 0, 1 ] }
optimization { cuda { graphs: true busy_wait_events: true } }
default_model_filename: "net_sm90.plan"
version_policy { specific { versions: [ 1, 3 ] } }
"""

LIBTORCH = b"""
name: "sum"
backend: "pytorch"
max_batch_size: 4
input [
  { name: "INPUT__1" data_type: TYPE_FP32 dims: [ 16 ] },
  { name: "INPUT__0" data_type: TYPE_FP32 dims: [ 16 ] }
]
output [ { name: "OUTPUT__0" data_type: TYPE_FP32 dims: [ 16 ] } ]
parameters: { key: "INFERENCE_MODE" value: { string_value: "true" } }
"""

ENSEMBLE = b"""
name: "pipeline"
platform: "ensemble"
max_batch_size: 1
input [ { name: "IMAGE" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "CLASS" data_type: TYPE_FP32 dims: [ 1000 ] } ]
ensemble_scheduling {
  step [
    {
      model_name: "decode"
      model_version: -1
      input_map { key: "raw" value: "IMAGE" }
      output_map { key: "x" value: "x" }
    }
  ]
}
response_cache { enable: true }
"""

SEQUENCE = b"""
name: "counter"
backend: "onnxruntime"
sequence_batching {
  max_sequence_idle_microseconds: 5000000
  oldest { max_candidate_sequences: 4 }
  control_input [ { name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ] } ]
}
"""

PYTHON = b"""
name: "pre"
backend: "python"
input [ { name: "x" data_type: TYPE_STRING dims: [ -1 ] } ]
"""
