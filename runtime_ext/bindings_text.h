#pragma once

#include <string>

#include <pybind11/pybind11.h>

namespace trtserve {

/// Text for people as a Python string. It may quote the bytes of a plan or a model by way of a library, so it may not
/// be UTF-8.
inline pybind11::str sentence(const std::string& text) {
  PyObject* decoded = PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
  if (decoded == nullptr) throw pybind11::error_already_set();
  return pybind11::reinterpret_steal<pybind11::str>(decoded);
}

}  // namespace trtserve
