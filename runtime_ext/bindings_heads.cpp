#include "bindings_heads.h"

#include <pybind11/stl.h>

#include "core/head_reader.h"

namespace py = pybind11;

namespace trtserve {

namespace {

using namespace pybind11::literals;

/// Keeps the GIL: reading a head takes less time than giving it away.
py::object read_head(const HeadReader& reader, const py::bytes& data) {
  ReadHead head;
  if (!reader.read(std::string_view(data), head)) return py::none();
  const auto key = head.short_head();
  const auto& [first, second, third] = head.numbers;
  py::object apart = py::none();
  if (head.apart) apart = py::bytes(head.apart->data(), head.apart->size());
  py::object told = py::none();
  if (head.declines && !head.tells) {
    told = py::bool_(false);
  } else if (head.tells) {
    py::tuple values(ReadHead::kMostTold);
    for (size_t i = 0; i < head.told.size(); ++i) {
      const auto& value = head.told.at(i);
      values[i] = value.data() == nullptr ? py::object(py::none()) : py::bytes(value.data(), value.size());
    }
    told = std::move(values);
  }
  return py::make_tuple(py::bytes(key.data(), key.size()), head.bytes, first, second, third, std::move(apart),
                        std::move(told));
}

}  // namespace

void bind_heads(py::module_& module) {
  py::class_<HeadReader>(module, "HeadReader")
      .def(py::init<const std::vector<std::string>&, const std::array<std::string, ReadHead::kNumbers>&,
                    const std::vector<std::string>&, const std::string&, const std::vector<std::string>&,
                    const std::map<std::string, std::string>&>(),
           "kept"_a, "numbers"_a, "refused"_a, "apart"_a = "", "told"_a = std::vector<std::string>(),
           "quiet"_a = std::map<std::string, std::string>())
      .def("read", &read_head, "data"_a);
}

}  // namespace trtserve
