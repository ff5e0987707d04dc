#include "bindings_tensors.h"

#include <pybind11/stl.h>

#include "core/error.h"

namespace py = pybind11;

namespace trtserve {

BufferOwner::~BufferOwner() {
  for (auto& buffer : buffers_) PyBuffer_Release(buffer.get());
}

const Py_buffer& BufferOwner::hold(const std::string& tensor_name, py::handle object) {
  auto buffer = std::make_unique<Py_buffer>();
  if (PyObject_GetBuffer(object.ptr(), buffer.get(), PyBUF_C_CONTIGUOUS) != 0) {
    PyErr_Clear();
    fail(Kind::InvalidInput, "input '", tensor_name, "' is not a C-contiguous buffer");
  }
  return *buffers_.emplace_back(std::move(buffer));
}

std::vector<HostTensor> host_tensors(const std::vector<InputTuple>& inputs, BufferOwner& owner) {
  std::vector<HostTensor> tensors;
  tensors.reserve(inputs.size());
  for (const auto& [name, datatype, shape, object] : inputs) {
    const auto& buffer = owner.hold(name, object);
    tensors.push_back({name, datatype, shape, buffer.buf, static_cast<size_t>(buffer.len)});
  }
  return tensors;
}

void bind_tensors(py::module_& module) {
  py::dict sizes;
  for (const auto& datatype : datatypes()) {
    sizes[py::str(std::string(datatype.name))] = c10::elementSize(datatype.dtype);
  }
  module.attr("DATATYPES") = sizes;

  py::class_<ShapeRange>(module, "ShapeRange")
      .def_readonly("min", &ShapeRange::min)
      .def_readonly("opt", &ShapeRange::opt)
      .def_readonly("max", &ShapeRange::max);

  py::class_<TensorSpec>(module, "TensorSpec")
      .def_readonly("name", &TensorSpec::name)
      .def_property_readonly("datatype", [](const TensorSpec& spec) { return datatype_name(spec.dtype); })
      .def_readonly("shape", &TensorSpec::shape)
      .def_readonly("profiles", &TensorSpec::profiles)
      .def_readonly("values", &TensorSpec::values)
      .def_property_readonly("location", [](const TensorSpec& spec) { return spec.on_host ? "host" : "device"; })
      .def_readonly("format", &TensorSpec::format);

  py::class_<Output>(module, "Output", py::buffer_protocol())
      .def_readonly("name", &Output::name)
      .def_property_readonly("datatype",
                             [](const Output& output) { return datatype_name(output.tensor.scalar_type()); })
      .def_property_readonly("shape", [](const Output& output) { return output.tensor.sizes().vec(); })
      .def_buffer([](Output& output) {
        const auto bytes = static_cast<py::ssize_t>(output.tensor.nbytes());
        return py::buffer_info(static_cast<uint8_t*>(output.tensor.data_ptr()), bytes, /*readonly=*/true);
      });
}

}  // namespace trtserve
