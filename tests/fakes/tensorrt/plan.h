#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "generation.h"

namespace trtserve::fake::trt {

using Shape = std::vector<int64_t>;

/// The kind of an input, or the operation that computes an output.
enum class Kind { Input, ShapeInput, Scale, Add, Cast, Nonzero, Fill, ShapeOf };

/// An input or output.
struct Tensor {
  std::string name;
  Kind kind = Kind::Input;
  nvinfer1::DataType type = nvinfer1::DataType::kFLOAT;
  Shape dims;         ///< -1: dynamic
  size_t first = 0;   ///< output: the index of the tensor that it is computed from
  size_t second = 0;  ///< Add: the index of the other tensor
  double number = 0;  ///< Scale: the factor; Fill: the value
  bool chw32 = false;
  bool quiet = false;  ///< ShapeInput: isShapeInferenceIO does not report it

  bool is_input() const { return kind == Kind::Input || kind == Kind::ShapeInput; }
  bool on_host() const { return kind == Kind::ShapeInput || kind == Kind::ShapeOf; }
  bool is_dynamic() const;
};

/// Minima, optima and maxima: indexed by OptProfileSelector.
using Range = std::array<Shape, 3>;

struct Profile {
  std::map<std::string, Range> dims;    ///< for every dynamic input
  std::map<std::string, Range> values;  ///< for every shape input
  /// `values` in the type in which engines report them.
  std::map<std::string, std::array<std::vector<Index>, 3>> reported_values;
};

enum class GraphMode { Right, Refuse, Wrong, Idle, Once };

/// A toy plan. Immutable once read.
///
/// The first 32 bytes are a header, little endian. The magic (bytes 0 to 3, "ftrt") and the version (bytes 24 to 27:
/// TensorRT's major, minor, patch and build, a byte each) are those of a real plan; the rest is ours: bytes 8 to 15 are
/// the size of the whole plan, the others 0. Before TensorRT 8.6 the header has 44 bytes, its magic is "ptrt", and a
/// tag of four bytes comes before each number of the version. Text follows, one fact per line; any other line, or extra
/// words, fail the deserialization.
///
///   name TEXT
///   input NAME DATATYPE DIM...          a dimension of -1 is dynamic
///   shape_input NAME INT32|INDEX N      N values, on the host
///   quiet SHAPE_INPUT                   its values decide a shape, but isShapeInferenceIO does not report it
///   profile                             begins the next profile; without any there is one, and nothing is dynamic
///   range INPUT MIN... / OPT... / MAX...         for every dynamic input of every profile
///   values SHAPE_INPUT MIN... / OPT... / MAX...  for every shape input of every profile
///   output NAME scale INPUT FACTOR
///   output NAME add INPUT INPUT
///   output NAME cast INPUT DATATYPE
///   output NAME nonzero INPUT           INDEX values into the flattened input; how many depends on the data
///   output NAME fill SHAPE_INPUT DATATYPE VALUE  the shape is the shape input's values
///   output NAME shape_of INPUT          INDEX, on the host
///   format NAME linear|chw32            chw32 needs three dimensions
///   scratch BYTES [per_item]            device memory of an execution; per_item: times the first input's first dim
///   weights BYTES                       device memory of the engine
///   aux_streams N, layers N, hardware LEVEL      what the engine reports of itself
///   host_code                           the plan contains host code
///   streams_weights                     copied to the device for every execution: no captures
///   gate NAME                           every execution waits for the gate on its stream; see gate.h
///   temporary BYTES                     device memory that enqueueV3 allocates for its work, and frees before it
///                                       returns
///   capture_gate NAME                   every capture waits for the gate, in the middle of enqueueV3
///   capture_allocates                   a capture asks the allocator for memory
///   fail deserialize|context|shape|infer|enqueue|kernel|allocate SENTENCE
///   fail late SENTENCE                  enqueueV3 fails after it has enqueued the work
///   fail notify SENTENCE                output allocators get no shapes; nothing else fails
///   crash deserialize                   ends the process
///   fail_on VALUE                       enqueueV3 fails where the first input's first element is this; it waits
///                                       for the stream to see it, and lets captures pass
///   graph refuse                        a capture fails
///   graph wrong                         replays compute something else
///   graph idle                          replays compute nothing
///   graph once                          every launch of a graph but its first fails
///
/// A datatype is FP32, FP16, INT8, UINT8, INT32 or BOOL, and since TensorRT 10 also BF16 or INT64; FP8, INT4, FP4 and
/// E8M0 can be declared then, but not executed. INDEX is INT64, and before TensorRT 10 INT32.
struct Plan {
  std::string name;
  std::vector<Tensor> tensors;  ///< in the order of their lines
  std::vector<Profile> profiles;
  int64_t scratch = 0;
  bool scratch_per_item = false;
  int64_t weights = 0;
  int32_t aux_streams = 0;
  int32_t layers = 1;
  int32_t hardware = 0;
  bool host_code = false;
  bool streams_weights = false;
  bool crashes = false;
  std::string gate;
  int64_t temporary = 0;
  std::string capture_gate;
  bool capture_allocates = false;
  std::map<std::string, std::string> failures;  ///< sentence by place
  std::optional<double> fail_on;
  GraphMode graph = GraphMode::Right;

  /// Returns null if the name is null or unknown.
  const Tensor* find(const char* tensor_name) const;
  /// The sentence, or null if nothing fails there.
  const std::string* failure(const std::string& where) const;
  /// The scratch bytes of an execution with these tensor shapes.
  int64_t scratch_bytes(const std::vector<Shape>& shapes) const;
  /// The scratch bytes of an execution with the profile's largest shapes.
  int64_t scratch_bytes(int32_t profile) const;
  /// The scratch bytes of an execution with the largest shapes of all profiles.
  int64_t most_scratch_bytes() const;
  bool has_profile(int32_t profile) const;
};

/// The fault of an invalid plan.
class PlanError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Reads a plan. Throws PlanError, with TensorRT's own words for that fault if they exist.
Plan read_plan(const void* bytes, size_t size);

/// Adds the fact of one line. Throws PlanError.
void read_line(Plan& plan, const std::string& line);

/// The name, such as "FP32"; an empty string for a type that plans cannot name.
std::string datatype_name(nvinfer1::DataType type);

/// Bytes per element.
size_t size_of(nvinfer1::DataType type);

/// The number of elements of a shape without dynamic dimensions.
int64_t element_count(const Shape& shape);

/// Formats a shape: "[2, -1]".
std::string format(const Shape& shape);

Shape to_shape(const nvinfer1::Dims& dims);
nvinfer1::Dims to_dims(const Shape& shape);
inline constexpr nvinfer1::Dims kInvalidDims{-1, {}};

}  // namespace trtserve::fake::trt
