#include "backends/openvino/onnx_tensors.h"

#include "backends/openvino/protobuf.h"
#include "backends/openvino/shown.h"
#include "core/error.h"

namespace trtserve::openvino {

void TensorCheck::tensor(std::string_view message) {
  std::string_view name;
  bool external = false;
  for (Fields fields(message); fields.next();) {
    const auto& field = fields.field();
    if (field.number == 8) name = field.bytes;
    external |= field.number == 13 || (field.number == 14 && field.value != 0);
  }
  if (external) {
    fail(Kind::InvalidInput, "the data of the tensor '", shown(name),
         "' is not in the ONNX file but in another, which is not uploaded with it: export with external_data=False "
         "(torch.onnx.export(…, external_data=False), or onnx.save_model(model, path) of a model that onnx.load has "
         "read)");
  }
}

void TensorCheck::sparse_tensor(std::string_view /*message*/) {}

}  // namespace trtserve::openvino
