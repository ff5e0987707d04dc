#pragma once

#include <string>
#include <vector>

#include <c10/core/Device.h>

namespace trtserve::torchscript {

/// The devices of an option, as device_of() takes them: auto (the first GPU if torch has one, otherwise the CPU), all,
/// cpu, cuda, cuda:N, or several with commas between them. Unsupported or InvalidInput for a device that there is not.
std::vector<std::string> devices_of(const std::string& option);

/// The device of one name that devices_of() returned.
at::Device device_of(const std::string& name);

}  // namespace trtserve::torchscript
