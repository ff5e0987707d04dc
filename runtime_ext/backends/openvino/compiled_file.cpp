#include "backends/openvino/compiled_file.h"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include <openvino/core/version.hpp>
#include <openvino/op/util/multi_subgraph_base.hpp>
#include <openvino/runtime/properties.hpp>
#include <openvino/runtime/tensor.hpp>

#include "core/backend.h"
#include "core/error.h"
#include "core/log.h"

namespace trtserve::openvino {

namespace {

constexpr std::string_view kMagic = "trtserve compiled model 1";

/// In bytes. Larger files are mapped, so that weights stay pages of a file, as those of a plan do.
constexpr uintmax_t kMapped = 1 << 20;

constexpr uint64_t kMostText = 1 << 24;  ///< bytes of a key or of a description of ports

/// The line of /proc/cpuinfo that lists the instructions of the first core; empty where there is none.
std::string instructions() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("flags", 0) == 0 || line.rfind("Features", 0) == 0) return line;
  }
  return "";
}

/// Identifies the build of this plugin, because another one may change models differently before it compiles them.
std::string this_build() {
  Dl_info found{};
  if (dladdr(reinterpret_cast<const void*>(&compiled_key), &found) == 0) return "";
  std::error_code unknown;
  const auto size = std::filesystem::file_size(found.dli_fname, unknown);
  const auto written = std::filesystem::last_write_time(found.dli_fname, unknown);
  return unknown ? "" : c10::str(size, " ", written.time_since_epoch().count());
}

void add(std::ostream& text, const ov::Output<const ov::Node>& port) {
  std::vector<std::string> names(port.get_names().begin(), port.get_names().end());
  std::sort(names.begin(), names.end());
  for (const auto& name : names) text << name.size() << ' ' << name << ' ';
  text << port.get_element_type() << ' ' << port.get_partial_shape();
}

/// Describes all that an engine reads from a compiled model's inputs and outputs: which of them share a tensor, too.
std::string described_ports(const ov::CompiledModel& model) {
  std::vector<ov::Output<const ov::Node>> ports = model.inputs();
  ports.insert(ports.end(), model.outputs().begin(), model.outputs().end());
  std::ostringstream text;
  text << model.inputs().size() << '\n';
  for (const auto& port : ports) {
    const auto same = [&](const auto& other) { return &other.get_tensor() == &port.get_tensor(); };
    add(text, port);
    text << ' ' << std::find_if(ports.begin(), ports.end(), same) - ports.begin() << '\n';
  }
  return text.str();
}

void write_text(std::ostream& file, std::string_view text) { file << text.size() << '\n' << text << '\n'; }

/// The zero bytes after the texts: weights that are used where they are mapped are aligned as OpenVINO aligned them.
size_t padding(std::streamoff written) {
  constexpr std::streamoff kAlignment = 64;
  return static_cast<size_t>((kAlignment - written % kAlignment) % kAlignment);
}

std::string read_text(std::istream& file) {
  uint64_t size = 0;
  file >> size;
  if (!file || file.get() != '\n' || size > kMostText) fail(Kind::InvalidInput, "its head is not one of this server's");
  std::string text(size, '\0');
  file.read(text.data(), static_cast<std::streamsize>(size));
  if (!file || file.get() != '\n') fail(Kind::InvalidInput, "its head is incomplete");
  return text;
}

void note(const std::string& path, std::string_view why) {
  log(Severity::Info, "openvino",
      c10::str("the compiled model ", std::filesystem::path(path).filename().string(), " is not used: ", why));
}

}  // namespace

std::string compiled_key(ov::Core& core, const ov::AnyMap& properties) {
  static const std::string machine = c10::str(instructions(), "\n", this_build());
  std::ostringstream key;
  key << kMagic << '\n' << ov::get_openvino_version().buildNumber << '\n' << machine << '\n';
  key << core.get_property("CPU", ov::device::full_name) << '\n';
  for (const auto& capability : core.get_property("CPU", ov::device::capabilities)) key << capability << ' ';
  for (const auto& [name, value] : properties) {
    key << '\n' << name << '=';
    value.print(key);
  }
  return key.str();
}

bool can_be_kept(const ov::Model& model) {
  for (const auto& node : model.get_ops()) {
    const char* const set = node->get_type_info().version_id;
    if (set == nullptr || std::string_view(set).rfind("opset", 0) != 0) return false;
    const auto parent = ov::as_type_ptr<ov::op::util::MultiSubGraphOp>(node);
    if (!parent) continue;
    for (const auto& body : parent->get_functions()) {
      if (!can_be_kept(*body)) return false;
    }
  }
  return true;
}

void write_compiled(const std::string& path, const std::string& key, ov::CompiledModel& model) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << std::string(kCompiledHead, '\0');
  write_text(file, key);
  write_text(file, described_ports(model));
  file << std::string(padding(file.tellp()), '\0');
  model.export_model(file);
  file.close();
  if (!file) fail(Kind::Unavailable, "the compiled model cannot be written");
}

std::optional<ov::CompiledModel> read_compiled(const std::string& path, const std::string& key, ov::Core& core,
                                               const ov::AnyMap& properties) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  try {
    file.seekg(kCompiledHead);
    if (read_text(file) != key) {
      note(path, "it was compiled for other options, another CPU or with another version");
      return std::nullopt;
    }
    const auto ports = read_text(file);
    const auto offset = static_cast<size_t>(file.tellg()) + padding(file.tellg());
    const bool mapped = std::filesystem::file_size(path) >= kMapped;
    const auto blob = ov::read_tensor_data(path, ov::element::u8, ov::PartialShape::dynamic(1), offset, mapped);
    auto model = core.import_model(blob, "CPU", properties);
    if (described_ports(model) == ports) return model;
    note(path, "OpenVINO imports it with other inputs or outputs");
  } catch (const std::exception& error) {
    note(path, error.what());
  }
  return std::nullopt;
}

}  // namespace trtserve::openvino
