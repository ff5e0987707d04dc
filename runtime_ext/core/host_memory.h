#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace trtserve {

/// Where the system tells about memory; tests give others.
struct MemoryFiles {
  std::string meminfo = "/proc/meminfo";
  std::string cgroup = "/proc/self/cgroup";
  std::string mount = "/sys/fs/cgroup";
};

/// Bytes of the host's memory that this process can still have: what is available on the machine, in the process's
/// control group and those around it, or in its address space (ulimit -v), whichever is least. Page cache counts
/// as available: the kernel gives it back. Nothing if the system does not tell. Reads a few small
/// files.
std::optional<int64_t> available_host_memory(const MemoryFiles& files = {});

}  // namespace trtserve
