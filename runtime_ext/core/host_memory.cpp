// The files are described in proc(5) and in the kernel's documentation of control groups: cgroup-v2.rst, and
// cgroup-v1/memory.rst.

#include "core/host_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

namespace trtserve {

namespace {

constexpr int64_t kKiB = 1024;

using Size = std::optional<int64_t>;

/// The number after `name` in a file of lines "name number".
Size named(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string word;
    int64_t number = 0;
    if (words >> word && word == name && words >> number) return number;
  }
  return std::nullopt;
}

/// The number that is all of a file; nothing for "max".
Size number_in(const std::string& path) {
  std::ifstream file(path);
  int64_t number = 0;
  if (file >> number) return number;
  return std::nullopt;
}

Size of_machine(const std::string& meminfo) {
  const auto found = named(meminfo, "MemAvailable:");
  return found ? Size(*found * kKiB) : std::nullopt;
}

/// Of a group and those in it, for which version 1 has names of its own.
int64_t page_cache(const std::string& stat) {
  std::ifstream file(stat);
  std::string name;
  int64_t number = 0;
  int64_t own = 0;
  Size total;
  while (file >> name >> number) {
    if (name == "inactive_file" || name == "active_file") own += number;
    if (name == "total_inactive_file" || name == "total_active_file") total = total.value_or(0) + number;
  }
  return total.value_or(own);
}

Size of_group(const std::string& folder) {
  static const std::pair<const char*, const char*> kVersions[] = {{"/memory.max", "/memory.current"},
                                                                  {"/memory.limit_in_bytes", "/memory.usage_in_bytes"}};
  for (const auto& [limit, used] : kVersions) {
    const auto most = number_in(folder + limit);
    const auto taken = number_in(folder + used);
    if (!most || !taken) continue;
    return std::max<int64_t>(0, *most - *taken + page_cache(folder + "/memory.stat"));
  }
  return std::nullopt;
}

/// True if `controllers`, a list with commas, has that of memory; version 2 has one hierarchy for all, without a list.
bool is_of_memory(const std::string& controllers) {
  return controllers.empty() || ("," + controllers + ",").find(",memory,") != std::string::npos;
}

/// The folders of the process's control group and of those around it. A container sees only its own.
std::vector<std::string> groups(const MemoryFiles& files) {
  std::vector<std::string> folders;
  std::ifstream file(files.cgroup);
  std::string line;
  while (std::getline(file, line)) {  // "hierarchy:controllers:path"
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const auto controllers = line.substr(first + 1, second - first - 1);
    if (!is_of_memory(controllers)) continue;
    const auto root = files.mount + (controllers.empty() ? "" : "/memory");
    for (auto path = line.substr(second + 1); !path.empty() && path != "/"; path.resize(path.rfind('/'))) {
      folders.push_back(root + path);
    }
    folders.push_back(root);
  }
  return folders;
}

Size of_address_space() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  const auto pages = number_in("/proc/self/statm");
  if (!pages) return std::nullopt;
  return std::max<int64_t>(0, static_cast<int64_t>(limit.rlim_cur) - *pages * sysconf(_SC_PAGESIZE));
}

}  // namespace

std::optional<int64_t> available_host_memory(const MemoryFiles& files) {
  Size least = of_machine(files.meminfo);
  const auto note = [&](Size size) {
    if (size) least = std::min(least.value_or(*size), *size);
  };
  for (const auto& folder : groups(files)) note(of_group(folder));
  note(of_address_space());
  return least;
}

}  // namespace trtserve
