#include "bindings_numbers.h"

#include <array>
#include <optional>

#include <pybind11/stl.h>

#include "core/classes.h"
#include "core/error.h"
#include "core/json_spans.h"
#include "core/number_list.h"
#include "core/tensor_contents.h"
#include "core/tensor_spec.h"

namespace py = pybind11;

namespace trtserve {

namespace {

using namespace pybind11::literals;

c10::ScalarType datatype(const std::string& name) {
  const auto dtype = parse_datatype(name);
  if (!dtype) fail(Kind::InvalidInput, "no engine has tensors of datatype ", name);
  return *dtype;
}

py::buffer_info contiguous(const py::buffer& buffer, bool writable = false) {
  auto info = buffer.request(writable);
  if (PyBuffer_IsContiguous(info.view(), 'C') == 0) fail(Kind::InvalidInput, "a buffer is not C-contiguous");
  return info;
}

/// The bytes of a buffer; valid while `info` exists.
std::string_view bytes_of(const py::buffer_info& info) {
  return {static_cast<const char*>(info.ptr), static_cast<size_t>(info.size * info.itemsize)};
}

/// The number of elements that `to` has room for.
size_t capacity(const py::buffer_info& to, c10::ScalarType dtype) {
  return static_cast<size_t>(to.size * to.itemsize) / c10::elementSize(dtype);
}

py::list to_list(const std::vector<Span>& spans) {
  py::list list;
  for (const auto& span : spans) list.append(py::make_tuple(span.begin, span.end));
  return list;
}

py::list find_lists(const py::buffer& document, size_t least, size_t most) {
  const auto info = contiguous(document);
  std::vector<Span> spans;
  {
    const py::gil_scoped_release no_gil;
    spans = find_number_lists(bytes_of(info), least, most);
  }
  return to_list(spans);
}

py::list find_strings(const py::buffer& document, size_t least) {
  const auto info = contiguous(document);
  std::vector<Span> spans;
  {
    const py::gil_scoped_release no_gil;
    spans = find_plain_strings(bytes_of(info), least);
  }
  return to_list(spans);
}

py::object read_list(const py::buffer& text, const std::vector<int64_t>& shape, const std::string& name,
                     const py::buffer& to) {
  const auto dtype = datatype(name);
  const auto from = contiguous(text);
  const auto into = contiguous(to, /*writable=*/true);
  std::optional<NumberListFault> fault;
  {
    const py::gil_scoped_release no_gil;
    fault = read_number_list(bytes_of(from), shape, dtype, into.ptr, capacity(into, dtype));
  }
  if (!fault) return py::none();
  static constexpr std::array kNames = {"malformed", "nesting", "count", "element"};
  return py::make_tuple(kNames.at(fault->kind), fault->index, fault->where.begin, fault->where.end);
}

/// The faults of contents, by ContentsFault::Kind.
constexpr std::array kContentsFaults = {"malformed", "other field", "element"};

py::tuple read_strings(const py::buffer& message, uint32_t field, const py::buffer& to) {
  const auto from = contiguous(message);
  const auto into = contiguous(to, /*writable=*/true);
  StringContents read;
  {
    const py::gil_scoped_release no_gil;
    read = read_string_contents(bytes_of(from), field, static_cast<char*>(into.ptr), bytes_of(into).size());
  }
  if (!read.fault) return py::make_tuple(read.count, read.bytes, py::none());
  return py::make_tuple(read.count, read.bytes,
                        py::make_tuple(kContentsFaults.at(read.fault->kind), read.fault->index));
}

py::tuple read_message(const py::buffer& message, uint32_t field, const std::string& name, const py::buffer& to) {
  const auto dtype = datatype(name);
  const auto from = contiguous(message);
  const auto into = contiguous(to, /*writable=*/true);
  std::optional<ContentsFault> fault;
  size_t count = 0;
  {
    const py::gil_scoped_release no_gil;
    fault = read_contents(bytes_of(from), field, dtype, into.ptr, capacity(into, dtype), count);
  }
  if (!fault) return py::make_tuple(count, py::none());
  const bool is_unsigned = dtype == c10::ScalarType::UInt64 || dtype == c10::ScalarType::UInt32 ||
                           dtype == c10::ScalarType::UInt16 || dtype == c10::ScalarType::Byte;
  const py::int_ value = is_unsigned ? py::int_(static_cast<uint64_t>(fault->value)) : py::int_(fault->value);
  return py::make_tuple(count, py::make_tuple(kContentsFaults.at(fault->kind), fault->index, value));
}

/// The label of each class that was found and has one. The views are valid as long as `labels`, which nobody changes.
std::vector<std::optional<std::string_view>> labels_of(const std::vector<size_t>& found, const py::sequence& labels) {
  const size_t known = labels.size();
  if (known == 0) return {};
  std::vector<std::optional<std::string_view>> of(found.size());
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i] < known) of[i] = labels[found[i]].cast<std::string_view>();
  }
  return of;
}

py::bytes top_classes(const py::buffer& data, const std::string& name, size_t items, size_t count,
                      const py::sequence& labels) {
  const auto dtype = datatype(name);
  const auto info = contiguous(data);
  std::vector<size_t> found;
  {
    const py::gil_scoped_release no_gil;
    found = greatest(dtype, bytes_of(info), items, count);
  }
  const auto called = labels_of(found, labels);
  std::string written;
  {
    const py::gil_scoped_release no_gil;
    written = class_strings(dtype, bytes_of(info), items, found, called);
  }
  return written;
}

}  // namespace

void bind_numbers(py::module_& module) {
  module.def("find_number_lists", &find_lists, "document"_a, "least"_a, "most"_a);
  module.def("find_plain_strings", &find_strings, "document"_a, "least"_a);
  module.def("read_number_list", &read_list, "text"_a, "shape"_a, "datatype"_a, "to"_a);
  module.def("top_classes", &top_classes, "data"_a, "datatype"_a, "items"_a, "count"_a, "labels"_a);
  module.def("read_contents", &read_message, "message"_a, "field"_a, "datatype"_a, "to"_a);
  module.def("read_string_contents", &read_strings, "message"_a, "field"_a, "to"_a);
}

}  // namespace trtserve
