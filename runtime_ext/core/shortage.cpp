#include "core/shortage.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <future>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "core/device_health.h"

namespace trtserve {

namespace {

constexpr std::chrono::seconds kRetryAfter{5};
constexpr int kDescriptors = 16;  // for a load: the plan, links to it, and libraries
constexpr int kThreads = 8;       // for instances, streams and compilation

enum class Scarce { Memory, Threads, Descriptors };

constexpr std::array<std::pair<std::string_view, Scarce>, 9> kWords = {{
    {"bad_alloc", Scarce::Memory},
    {"bad allocation", Scarce::Memory},
    {"annot allocate memory", Scarce::Memory},
    {"an't allocate memory", Scarce::Memory},   // torch's allocator
    {"ailed to allocate", Scarce::Memory},      // OpenVINO
    {"failed to map segment", Scarce::Memory},  // while opening a library
    {"Resource temporarily unavailable", Scarce::Threads},
    {"Too many open files", Scarce::Descriptors},
    {"pthread_create", Scarce::Threads},
}};

Error unavailable(const std::string& label, Scarce scarce) {
  switch (scarce) {
    case Scarce::Memory:
      return {Kind::Unavailable,
              c10::str(label,
                       " ran out of memory: unload engines, or give the server more memory (ulimit -v, the container's "
                       "limit), and try again"),
              kRetryAfter};
    case Scarce::Threads:
      return {Kind::Unavailable,
              c10::str(label,
                       " ran out of threads: unload engines, or raise the limit on threads (ulimit -u, the container's "
                       "pids limit, TasksMax), and try again"),
              kRetryAfter};
    default:
      return {Kind::Unavailable,
              c10::str(label,
                       " ran out of file descriptors: close connections, or raise the limit on open files "
                       "(ulimit -n, LimitNOFILE), and try again"),
              kRetryAfter};
  }
}

std::optional<Scarce> scarce_by_code(const std::error_code& code) {
  if (code == std::errc::not_enough_memory) return Scarce::Memory;
  if (code == std::errc::resource_unavailable_try_again) return Scarce::Threads;
  if (code == std::errc::too_many_files_open || code == std::errc::too_many_files_open_in_system) {
    return Scarce::Descriptors;
  }
  return std::nullopt;
}

std::optional<Scarce> scarce_by_words(const std::string& words) {
  for (const auto& [part, scarce] : kWords) {
    if (words.find(part) != std::string::npos) return scarce;
  }
  return std::nullopt;
}

std::optional<Scarce> scarce_behind(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const std::bad_alloc&) {
    return Scarce::Memory;
  } catch (const std::system_error& error) {
    return scarce_by_code(error.code());
  } catch (const std::exception& error) {
    return scarce_by_words(reason_of(error));
  } catch (...) {
    return std::nullopt;
  }
}

bool has_descriptors() {
  std::vector<int> opened;
  while (opened.size() < kDescriptors) {
    const int descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) break;
    opened.push_back(descriptor);
  }
  for (const int descriptor : opened) close(descriptor);
  return opened.size() == kDescriptors;
}

bool has_memory(size_t bytes) {
  // Only address space, which is what the limits cover; no page is touched.
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return false;
  munmap(mapped, bytes);
  return true;
}

bool has_threads() {
  std::promise<void> end;
  const std::shared_future<void> ended = end.get_future().share();
  std::vector<std::thread> threads;
  bool enough = true;
  try {
    threads.reserve(kThreads);
    while (threads.size() < kThreads) threads.emplace_back([ended] { ended.wait(); });
  } catch (const std::system_error&) {
    enough = false;
  }
  end.set_value();
  for (auto& thread : threads) thread.join();
  return enough;
}

}  // namespace

std::optional<Error> shortage_behind(const std::string& label, const std::exception_ptr& failure) {
  const auto scarce = scarce_behind(failure);
  return scarce ? std::optional(unavailable(label, *scarce)) : std::nullopt;
}

std::optional<Error> shortage_for(const std::string& label, size_t bytes) {
  if (!has_descriptors()) return unavailable(label, Scarce::Descriptors);
  if (!has_memory(bytes)) return unavailable(label, Scarce::Memory);
  if (!has_threads()) return unavailable(label, Scarce::Threads);
  return std::nullopt;
}

}  // namespace trtserve
