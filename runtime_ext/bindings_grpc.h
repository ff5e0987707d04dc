#pragma once

#include <pybind11/pybind11.h>

#include "bindings_tensors.h"
#include "grpc/message.h"

namespace trtserve {

/// Creates a request on `prepared` whose inputs are the raw contents of `message`, in the described order, without a
/// copy. InvalidInput if their number or sizes do not match.
Request make_request(const Prepared& prepared, std::shared_ptr<const GrpcMessage> message);

void bind_grpc(pybind11::module_& module);

}  // namespace trtserve
