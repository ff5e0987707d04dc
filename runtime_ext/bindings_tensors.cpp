#include "bindings_tensors.h"

#include <algorithm>

#include <pybind11/stl.h>

#include "core/byte_strings.h"
#include "core/error.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace trtserve {

namespace {

/// Up to this size, a copy costs less than a view's objects.
constexpr size_t kCopied = 16'384;

/// A part of an open file, for Python.
struct FilePart {
  HostBytes bytes;
  size_t size;
  py::object owner;  ///< keeps the file open
};

FilePart file_part(int file, int64_t position, int64_t size, py::object owner) {
  if (file < 0 || position < 0 || size < 0) {
    fail(Kind::InvalidInput, "a part of file ", file, " has ", size, " bytes from ", position,
         "; none may be negative");
  }
  return {{nullptr, file, position}, static_cast<size_t>(size), std::move(owner)};
}

/// Holds Python buffers and parts of files, without copying their bytes. Created and destroyed with the GIL: an
/// InputOwner is destroyed where completions are taken, in Python.
class BufferOwner final : public InputOwner {
 public:
  BufferOwner() = default;
  ~BufferOwner() override {
    for (auto& buffer : buffers_) PyBuffer_Release(&buffer);
  }
  BufferOwner(const BufferOwner&) = delete;
  BufferOwner& operator=(const BufferOwner&) = delete;

  /// Returns the bytes of a buffer, valid while this exists. InvalidInput unless it is C-contiguous.
  std::pair<const std::byte*, size_t> hold(py::handle object) {
    Py_buffer buffer;
    if (PyObject_GetBuffer(object.ptr(), &buffer, PyBUF_C_CONTIGUOUS) != 0) {
      PyErr_Clear();
      fail(Kind::InvalidInput, "the data of an input is not a C-contiguous buffer");
    }
    buffers_.push_back(buffer);
    return {static_cast<const std::byte*>(buffer.buf), static_cast<size_t>(buffer.len)};
  }

  /// Returns the bytes of a buffer or FilePart, valid while this exists. InvalidInput for any other object.
  std::pair<HostBytes, size_t> hold_either(py::handle object) {
    if (PyObject_CheckBuffer(object.ptr()) == 0 && py::isinstance<FilePart>(object)) {
      const auto& part = object.cast<const FilePart&>();
      files_.push_back(part.owner);
      return {part.bytes, part.size};
    }
    const auto [memory, length] = hold(object);
    return {HostBytes{memory}, length};
  }

 private:
  c10::SmallVector<Py_buffer, 1> buffers_;
  std::vector<py::object> files_;
};

}  // namespace

Request make_request(const Prepared& prepared, py::handle data, size_t offset) {
  const auto& signature = *prepared.signature;
  Request request;
  request.signature = prepared.signature;
  request.data.resize(signature.inputs.size());
  auto owner = std::make_unique<BufferOwner>();
  if (PyTuple_Check(data.ptr())) {
    const auto count = static_cast<size_t>(PyTuple_GET_SIZE(data.ptr()));
    if (count != signature.positions.size()) {
      fail(Kind::InvalidInput, "the request has ", count, " buffers for ", signature.positions.size(), " inputs");
    }
    for (size_t i = 0; i < count; ++i) {
      const auto [bytes, length] = owner->hold_either(PyTuple_GET_ITEM(data.ptr(), static_cast<Py_ssize_t>(i)));
      signature.inputs[signature.positions[i]].check_data(static_cast<const char*>(bytes.memory), length);
      request.data[signature.positions[i]] = bytes;
    }
  } else {
    const auto [bytes, length] = owner->hold(data);
    if (offset > length) {
      fail(Kind::InvalidInput, "the data begins at byte ", offset, " of a buffer that has ", length);
    }
    for (const size_t position : signature.positions) {
      const auto& input = signature.inputs[position];
      if (input.dtype == kBytes)
        fail(Kind::InvalidInput, "input '", input.name, "': strings need a buffer of their own");
      const size_t size = input.bytes;
      if (length - offset < size) input.check_data(nullptr, length - offset);
      request.data[position] = HostBytes{bytes + offset};
      offset += size;
    }
    if (offset != length) fail(Kind::InvalidInput, length - offset, " bytes of the data belong to no input");
  }
  request.owner = std::move(owner);
  return request;
}

std::vector<TensorShape> tensor_shapes(const std::vector<DescribedTensor>& tensors) {
  std::vector<TensorShape> shapes;
  shapes.reserve(tensors.size());
  for (const auto& [name, datatype, shape] : tensors) shapes.push_back({name, datatype, shape});
  return shapes;
}

std::vector<Output> outputs_of(const Completion& completion) {
  std::vector<Output> outputs;
  outputs.reserve(completion.outputs.size());
  for (size_t i = 0; i < completion.outputs.size(); ++i) {
    outputs.push_back({completion.output_names->at(i), completion.outputs[i], completion.memory});
  }
  return outputs;
}

py::tuple shapes_of(const Completion& completion) {
  py::tuple shapes(completion.outputs.size());
  for (size_t i = 0; i < completion.outputs.size(); ++i) {
    const auto& shape = completion.outputs[i].shape;
    py::tuple dims(shape.size());
    for (size_t d = 0; d < shape.size(); ++d) dims[d] = shape[d];
    shapes[i] = std::move(dims);
  }
  return shapes;
}

std::pair<uintptr_t, size_t> memory_of(const Completion& completion) {
  size_t bytes = 0;
  if (!completion.memory) return {0, bytes};
  for (const auto& tensor : *completion.memory) bytes += tensor.nbytes();
  return {reinterpret_cast<uintptr_t>(completion.memory.get()), bytes};
}

py::object data_of(const Completion& completion, size_t index) {
  if (index >= completion.outputs.size()) throw py::index_error("the completion has no such output");
  const auto& view = completion.outputs[index];
  if (view.bytes <= kCopied) return py::bytes(static_cast<const char*>(view.data), view.bytes);
  return py::memoryview(py::cast(Output{completion.output_names->at(index), view, completion.memory}));
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
      .def_readonly("format", &TensorSpec::format)
      .def_property_readonly("computed_as", [](const TensorSpec& spec) {
        return spec.computed_as ? std::optional(datatype_name(*spec.computed_as)) : std::nullopt;
      });

  py::class_<Output>(module, "Output", py::buffer_protocol())
      .def_readonly("name", &Output::name)
      .def_property_readonly("datatype", [](const Output& output) { return datatype_name(output.view.dtype); })
      .def_property_readonly(
          "shape",
          [](const Output& output) { return std::vector<int64_t>(output.view.shape.begin(), output.view.shape.end()); })
      .def_buffer([](Output& output) {
        // Read-only: the const_cast only satisfies buffer_info.
        auto* data = static_cast<uint8_t*>(const_cast<void*>(output.view.data));
        return py::buffer_info(data, static_cast<py::ssize_t>(output.view.bytes), /*readonly=*/true);
      });

  py::class_<FilePart>(module, "FilePart").def(py::init(&file_part), "file"_a, "position"_a, "size"_a, "owner"_a);

  py::class_<Prepared>(module, "Prepared").def_readonly("engine", &Prepared::engine);
}

}  // namespace trtserve
