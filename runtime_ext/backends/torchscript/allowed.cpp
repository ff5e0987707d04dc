// The operators that a module may have, and why. A module runs inside the server with its rights, so an operator is
// allowed only if all that it does is to compute tensors and other values from its arguments.
//
//   aten::   Public operators compute tensors, except for those in kRefused. Operators whose name begins with one
//            underscore are internal to torch: many trust their arguments (indices, sparse layouts), so that a wrong
//            one reads or writes foreign memory. Only those in kInternal, which check theirs, are allowed.
//   prim::   Those in kPrimitives: constants, containers, control flow, attributes, forks.
//   trt::    Those of this project: they call engines and decode pictures.
//   torchvision::  The operators of detectors, where a process has registered them.
//
// All other namespaces are refused: quantized (packed parameters are custom classes), distributed, profiler, cuda, rpc
// and whatever else a process has registered.

#include "backends/torchscript/allowed.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <vector>

#include <torch/csrc/jit/api/function_impl.h>

#include "backends/torchscript/nodes.h"
#include "core/error.h"

namespace trtserve::torchscript {

using torch::jit::Graph;
using torch::jit::Node;

namespace {

const std::set<std::string_view>& refused() {
  static const std::set<std::string_view> kRefused = {
      // Files.
      "save", "load", "from_file",
      // State of the process or of a thread: it would reach the requests of others.
      "manual_seed", "seed", "initial_seed", "set_rng_state", "get_rng_state", "set_num_threads",
      "set_num_interop_threads", "set_default_dtype", "set_printoptions", "set_flush_denormal", "autocast_mode",
      "set_autocast_enabled", "set_autocast_cache_enabled", "clear_autocast_cache", "autocast_increment_nesting",
      "autocast_decrement_nesting",
      // Gradients: there are none in a server.
      "backward", "grad", "requires_grad_", "retain_grad", "set_data", "register_hook",
      // Storages of tensors: they could be made to share memory with the inputs of others.
      "set_", "resize_as_sparse_", "sparse_resize_", "sparse_resize_and_clear_", "is_shared", "share_memory_",
      "record_stream", "pin_memory", "storage",
      // They leave memory of others in a tensor. `empty` and its like are given zeros: see archive.cpp.
      "resize_", "resize", "resize_as_", "resize_as", "empty_quantized",
      // Other processes.
      "to_here", "owner", "owner_name", "confirmed_by_owner", "is_owner", "local_value", "get_gradients"};
  return kRefused;
}

/// What scripted, traced and frozen modules have of the operators that are internal to torch.
const std::set<std::string_view>& internal() {
  static const std::set<std::string_view> kInternal = {"_convolution",
                                                       "_convolution_mode",
                                                       "_unsafe_view",
                                                       "_shape_as_tensor",
                                                       "_reshape_from_tensor",
                                                       "_set_item",
                                                       "_softmax",
                                                       "_log_softmax",
                                                       "_unique",
                                                       "_unique2",
                                                       "_cast_Float",
                                                       "_cast_Double",
                                                       "_cast_Half",
                                                       "_cast_Int",
                                                       "_cast_Long",
                                                       "_cast_Byte",
                                                       "_cast_Char",
                                                       "_cast_Short",
                                                       "_get_tracing_state",
                                                       "_no_grad_embedding_renorm_",
                                                       "_weight_norm",
                                                       "_dim_arange",
                                                       "_is_zerotensor",
                                                       "_stack",
                                                       "_cat",
                                                       "_adaptive_avg_pool2d",
                                                       "_adaptive_avg_pool3d",
                                                       "_size_if_not_equal",
                                                       "_list_to_tensor",
                                                       "_upsample_nearest_exact1d",
                                                       "_upsample_nearest_exact2d",
                                                       "_upsample_nearest_exact3d",
                                                       "_upsample_bilinear2d_aa",
                                                       "_upsample_bicubic2d_aa",
                                                       "_upsample_lanczos2d_aa",
                                                       "_native_multi_head_attention",
                                                       "_transformer_encoder_layer_fwd",
                                                       "_nested_tensor_from_mask",
                                                       "_nested_tensor_from_mask_left_aligned",
                                                       "_pack_padded_sequence",
                                                       "_pad_packed_sequence",
                                                       "_pad_circular",
                                                       "_pad_enum",
                                                       "_tensor_to_list",
                                                       "_unwrap_optional",
                                                       "_infer_size"};
  return kInternal;
}

const std::set<std::string_view>& primitives() {
  static const std::set<std::string_view> kPrimitives = {
      // Values and containers.
      "Constant", "ListConstruct", "ListUnpack", "TupleConstruct", "TupleUnpack", "TupleIndex", "TupleSlice",
      "DictConstruct", "Uninitialized", "StringIndex", "EnumName", "EnumValue", "CreateObject", "NumToTensor",
      "ImplicitTensorToNum", "ConstantChunk", "unchecked_cast", "unchecked_unwrap_optional", "isinstance", "annotate",
      "tolist", "rangelist", "range", "unpackTuple", "id", "name", "type", "ModuleContainerIndex",
      "ConstantMKLDNNTensor", "min", "max", "abs", "all", "any",
      // Control flow. The values of a context manager are those of classes in the archive.
      "If", "Loop", "CallFunction", "CallMethod", "RaiseException", "Enter", "Exit", "fork", "Return", "Param",
      "Closure",
      // Attributes of modules, of objects and of tensors. What outlives a request is refused in state.cpp.
      "GetAttr", "SetAttr", "HasAttr", "device", "dtype", "layout", "shape", "ndim", "data", "grad", "requires_grad",
      "index", "itemsize", "nbytes", "is_cuda", "is_cpu", "is_sparse", "is_sparse_csr", "is_mkldnn", "is_quantized",
      "is_meta", "is_mps", "is_nested", "is_xla", "is_xpu", "is_ipu", "is_vulkan", "is_maia", "is_mtia", "is_ort",
      "AutogradAnyNonZero"};
  return kPrimitives;
}

const std::set<std::string_view>& vision() {
  static const std::set<std::string_view> kVision = {"nms",          "roi_align",   "roi_pool",
                                                     "ps_roi_align", "ps_roi_pool", "deform_conv2d"};
  return kVision;
}

const std::set<std::string_view>& ours() {
  static const std::set<std::string_view> kOurs = {"execute_engine_list", "engine", "decode_jpeg"};
  return kOurs;
}

/// Kernels of one library, and steps of others' gradients: not for programs, so many trust their arguments.
bool is_a_kernel(std::string_view name) {
  for (const std::string_view library : {"fbgemm_", "cudnn_", "miopen_", "mkldnn_", "quantized_", "native_"}) {
    if (name.substr(0, library.size()) == library) return true;
  }
  return name.ends_with("_backward") || name.ends_with("_jvp");
}

bool aten_is_allowed(std::string_view name) {
  if (refused().count(name) != 0 || is_a_kernel(name)) return false;
  const bool is_internal = name.size() > 1 && name[0] == '_' && name[1] != '_';
  return !is_internal || internal().count(name) != 0;
}

bool is_allowed(c10::Symbol kind) {
  const std::string name = kind.toUnqualString();
  const std::string space = kind.ns().toUnqualString();
  if (space == "aten") return aten_is_allowed(name);
  if (space == "prim") return primitives().count(name) != 0;
  if (space == "trt") return ours().count(name) != 0;
  if (space == "torchvision") return vision().count(name) != 0;
  return false;
}

/// Refuses types whose values may hold values of the same type at any depth: torch destroys and prints them by
/// recursion, which a deep one, or one that holds itself, takes to the end of the stack. `inside`: the classes around.
void check_depth(const c10::TypePtr& type, std::vector<const c10::Type*>& inside) {
  for (const auto& contained : type->containedTypes()) {
    if (contained->kind() == c10::TypeKind::AnyType) {
      fail(Kind::InvalidInput, "the module has a value of the type ", type->repr_str(),
           ": its elements may be of any type, which is not allowed; name their type");
    }
  }
  const auto object = type->cast<c10::ClassType>();
  if (object && object->is_module()) return;
  if (std::find(inside.begin(), inside.end(), type.get()) != inside.end()) {
    fail(Kind::InvalidInput, "the module has a value of the type ", type->repr_str(),
         ", whose attributes may hold others of the type: that is not allowed");
  }
  inside.push_back(type.get());
  for (const auto& contained : type->containedTypes()) check_depth(contained, inside);
  inside.pop_back();
}

/// Refuses a type of which no value may be in a module: objects of C++ code, what refers to a stream, a storage or
/// another process, and what may be nested at any depth.
void check_type(const c10::TypePtr& type) {
  std::vector<const c10::Type*> inside;
  check_depth(type, inside);
  switch (type->kind()) {
    case c10::TypeKind::ClassType:
      if (const auto name = type->expectRef<c10::ClassType>().name();
          name && name->qualifiedName().rfind("__torch__.torch.classes", 0) == 0) {
        refuse_class(name->qualifiedName());
      }
      return;
    case c10::TypeKind::CapsuleType:
    case c10::TypeKind::PyObjectType:
    case c10::TypeKind::QuantizerType:
    case c10::TypeKind::RRefType:
    case c10::TypeKind::StorageType:
    case c10::TypeKind::StreamObjType:
      fail(Kind::InvalidInput, "the module has a value of the type ", type->repr_str(), ", which is not allowed");
    default:
      for (const auto& contained : type->containedTypes()) check_type(contained);
  }
}

void check_graph(Graph& graph, const std::string& function) {
  const auto in_function = [&](const std::string& what) {
    fail(Kind::InvalidInput, "the module calls ", what, " in ", function,
         ", which is not allowed: docs/backends.md says which operators are");
  };
  for (const auto* input : graph.inputs()) check_type(input->type());
  for_each_node(graph, [&](Node& node) {
    const auto kind = node.kind();
    if (!is_allowed(kind)) in_function(kind.toQualString());
    for (const auto* output : node.outputs()) check_type(output->type());
  });
}

}  // namespace

void check_functions(torch::jit::CompilationUnit& unit) {
  for (auto* function : unit.get_functions()) {
    auto* scripted = torch::jit::tryToGraphFunction(*function);
    if (scripted == nullptr) fail(Kind::InvalidInput, "the module's ", function->name(), " is no TorchScript function");
    scripted->ensure_defined();
    check_graph(*scripted->graph(), function->qualname().qualifiedName());
  }
}

void refuse_class(const std::string& name) {
  fail(Kind::InvalidInput, "the module has an object of the custom class ", name,
       ": its code is not in the archive, so such objects are not allowed");
}

}  // namespace trtserve::torchscript
