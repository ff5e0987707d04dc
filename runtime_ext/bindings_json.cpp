#include "bindings_json.h"

#include <array>
#include <cstdlib>
#include <memory>
#include <new>

#include <pybind11/stl.h>

#include "core/cut_json.h"
#include "core/error.h"
#include "core/number_text.h"
#include "core/tensor_spec.h"

namespace py = pybind11;

namespace trtserve {

namespace {

using namespace pybind11::literals;

/// Up to this size in bytes, work takes less time than to release the GIL and to get it back.
constexpr size_t kShort = 16'384;
constexpr size_t kAlignment = 64;  // of memory that an execution can use in place

c10::ScalarType datatype(const std::string& name) {
  const auto dtype = parse_datatype(name);
  if (!dtype) fail(Kind::InvalidInput, "no engine has tensors of datatype ", name);
  return *dtype;
}

/// The bytes of a Python object, which this keeps. Created and destroyed with the GIL.
class Bytes {
 public:
  explicit Bytes(py::handle object) {
    if (PyObject_GetBuffer(object.ptr(), &buffer_, PyBUF_C_CONTIGUOUS) != 0) {
      PyErr_Clear();
      fail(Kind::InvalidInput, "the data is not a C-contiguous buffer");
    }
  }
  ~Bytes() { PyBuffer_Release(&buffer_); }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  std::string_view view() const { return {static_cast<const char*>(buffer_.buf), static_cast<size_t>(buffer_.len)}; }

 private:
  Py_buffer buffer_{};
};

/// Calls `work`, without the GIL if that takes long.
template <typename Work>
auto run(size_t bytes, const Work& work) {
  if (bytes <= kShort) return work();
  const py::gil_scoped_release no_gil;
  return work();
}

/// Memory for consecutive tensors, seen through Python's buffer protocol.
struct TensorMemory {
  struct Free {
    void operator()(std::byte* memory) const {
      std::free(memory);  // NOLINT(cppcoreguidelines-owning-memory): aligned_alloc's
    }
  };
  explicit TensorMemory(size_t size)
      : bytes(size),
        memory(static_cast<std::byte*>(std::aligned_alloc(kAlignment, (size / kAlignment + 1) * kAlignment))) {
    if (memory == nullptr) throw std::bad_alloc();
  }

  size_t bytes;
  std::unique_ptr<std::byte, Free> memory;
};

/// What the documents of one `rest` are read into. Immutable.
struct JsonLayout {
  JsonLayout(const std::vector<std::pair<std::string, std::vector<int64_t>>>& described, bool has_id) : id(has_id) {
    for (const auto& [name, shape] : described) {
      size_t elements = 1;
      for (const int64_t dim : shape) {
        if (dim < 0 || __builtin_mul_overflow(elements, static_cast<size_t>(dim), &elements)) {
          fail(Kind::InvalidInput, "a tensor cannot have the shape ", format_shape(shape));
        }
      }
      tensors.push_back({datatype(name), shape, elements});
      bytes += tensors.back().bytes();
    }
  }

  std::vector<NumberTensor> tensors;
  bool id;
  size_t bytes = 0;
};

/// A document that has been cut. Used with the GIL.
class CutDocument {
 public:
  CutDocument(std::unique_ptr<Bytes> body, std::string_view document, CutJson cut)
      : body_(std::move(body)), document_(document), cut_(std::move(cut)) {}

  py::bytes rest() const { return {cut_.rest}; }

  py::object id() const {
    if (!cut_.id) return py::none();
    return py::str(document_.data() + cut_.id->begin, cut_.id->end - cut_.id->begin);
  }

  /// The tensors' bytes, one after the other; None if the lists are not their data.
  py::object read(const JsonLayout& layout) const {
    if (cut_.id.has_value() != layout.id || !may_fill(cut_, layout.tensors)) return py::none();
    if (layout.bytes <= kShort) {
      auto bytes =
          py::reinterpret_steal<py::object>(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(layout.bytes)));
      if (!bytes) throw py::error_already_set();
      return fill(layout, reinterpret_cast<std::byte*>(PyBytes_AS_STRING(bytes.ptr()))) ? bytes : py::none();
    }
    auto memory = std::make_unique<TensorMemory>(layout.bytes);
    if (!fill(layout, memory->memory.get())) return py::none();
    return py::cast(std::move(memory));
  }

 private:
  bool fill(const JsonLayout& layout, std::byte* to) const {
    return run(document_.size(), [&] { return read_lists(cut_, document_, layout.tensors, to); });
  }

  std::unique_ptr<Bytes> body_;
  std::string_view document_;  // in body_
  CutJson cut_;
};

std::unique_ptr<CutDocument> cut(const py::object& body, size_t offset, size_t most_lists, size_t most_rest) {
  auto bytes = std::make_unique<Bytes>(body);
  if (offset > bytes->view().size()) fail(Kind::InvalidInput, "the document begins behind the end of its body");
  const auto document = bytes->view().substr(offset);
  auto found = run(document.size(), [&] { return cut_json(document, most_lists, most_rest); });
  if (!found) return nullptr;
  return std::make_unique<CutDocument>(std::move(bytes), document, std::move(*found));
}

py::bytes write(const py::object& data, const std::string& name) {
  const Bytes bytes(data);
  const auto from = bytes.view();
  const auto dtype = datatype(name);
  const size_t room = most_characters(dtype, from.size());
  if (room <= kShort) {
    std::array<char, kShort> text;  // NOLINT: only what is written is read
    const char* const end = write_number_list(dtype, from.data(), from.size(), text.data());
    return {text.data(), static_cast<size_t>(end - text.data())};
  }
  PyObject* text = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(room));
  if (text == nullptr) throw py::error_already_set();
  char* const begin = PyBytes_AS_STRING(text);
  const char* const end = run(room, [&] { return write_number_list(dtype, from.data(), from.size(), begin); });
  if (_PyBytes_Resize(&text, end - begin) != 0) throw py::error_already_set();
  return py::reinterpret_steal<py::bytes>(text);
}

}  // namespace

void bind_json(py::module_& module) {
  py::class_<TensorMemory>(module, "TensorMemory", py::buffer_protocol()).def_buffer([](TensorMemory& tensors) {
    return py::buffer_info(reinterpret_cast<uint8_t*>(tensors.memory.get()), static_cast<py::ssize_t>(tensors.bytes));
  });
  py::class_<JsonLayout>(module, "JsonLayout")
      .def(py::init<const std::vector<std::pair<std::string, std::vector<int64_t>>>&, bool>(), "tensors"_a, "has_id"_a)
      .def_readonly("nbytes", &JsonLayout::bytes);
  py::class_<CutDocument>(module, "CutDocument")
      .def_property_readonly("rest", &CutDocument::rest)
      .def_property_readonly("id", &CutDocument::id)
      .def("read", &CutDocument::read, "layout"_a);
  module.def("cut_json", &cut, "body"_a, "offset"_a, "most_lists"_a, "most_rest"_a);
  module.def("write_number_list", &write, "data"_a, "datatype"_a);
}

}  // namespace trtserve
