#include "backends/torchscript/devices.h"

#include <charconv>
#include <optional>
#include <sstream>

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "core/error.h"

namespace trtserve::torchscript {

namespace {

/// How many accelerators torch has; they are called cuda, whatever torch calls their type.
int accelerators() {
  const auto type = at::getAccelerator();
  return type ? c10::impl::VirtualGuardImpl(*type).deviceCount() : 0;
}

std::string one_of(const std::string& name) {
  if (name == "cpu") return name;
  constexpr std::string_view kPrefix = "cuda:";
  int index = name == "cuda" ? 0 : -1;
  if (name.rfind(kPrefix, 0) == 0) {
    const auto parsed = std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), index);
    if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size()) index = -1;
  }
  if (index < 0) {
    fail(Kind::Unsupported, "device is '", name, "'; the torchscript backend runs on cpu, cuda and cuda:N");
  }
  if (index >= accelerators()) {
    fail(Kind::InvalidInput, "device is '", name, "'; torch has ", accelerators(), " CUDA devices here");
  }
  return c10::str("cuda:", index);
}

}  // namespace

std::vector<std::string> devices_of(const std::string& option) {
  if (option == "auto") return {accelerators() > 0 ? "cuda:0" : "cpu"};
  std::vector<std::string> devices;
  if (option == "all") {
    for (int i = 0; i < accelerators(); ++i) devices.push_back(c10::str("cuda:", i));
    if (devices.empty()) devices.emplace_back("cpu");
    return devices;
  }
  std::istringstream text(option);
  for (std::string name; std::getline(text, name, ',');) devices.push_back(one_of(name));
  if (devices.empty()) {
    fail(Kind::Unsupported, "device is ''; the torchscript backend runs on cpu, cuda and cuda:N");
  }
  return devices;
}

at::Device device_of(const std::string& name) {
  if (name == "cpu") return at::kCPU;
  const auto type = at::getAccelerator(/*checked=*/true).value();
  at::globalContext().lazyInitDevice(type);
  int index = 0;
  std::from_chars(name.data() + name.find(':') + 1, name.data() + name.size(), index);
  return {type, static_cast<c10::DeviceIndex>(index)};
}

}  // namespace trtserve::torchscript
