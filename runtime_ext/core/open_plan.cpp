#include "core/open_plan.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include <c10/util/StringUtil.h>

#include "core/error.h"

namespace trtserve {

namespace {

constexpr size_t kChunk = size_t{1} << 20;

struct stat status_of(int fd) {
  struct stat status{};
  if (fstat(fd, &status) != 0) fail(Kind::Unavailable, "the plan file cannot be read: ", std::strerror(errno));
  return status;
}

long long changed_ns(const struct stat& status) {
  return status.st_mtim.tv_sec * 1'000'000'000LL + status.st_mtim.tv_nsec;
}

int open_temporary() {
  std::error_code unknown;
  const auto folder = std::filesystem::temp_directory_path(unknown);
  return unknown ? -1 : ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

int open_memory() { return memfd_create("plan", MFD_CLOEXEC); }

/// Writes all bytes; false, with errno, if that fails.
bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace

OpenPlan::OpenPlan(int fd) : fd_(fd) {
  try {
    const auto status = status_of(fd_);
    if (!S_ISREG(status.st_mode)) fail(Kind::Unavailable, "the plan file cannot be read: it is not a regular file");
    size_ = static_cast<size_t>(status.st_size);
    changed_ns_ = changed_ns(status);
  } catch (...) {
    close(fd_);
    throw;
  }
}

OpenPlan::~OpenPlan() { close(fd_); }

std::shared_ptr<const OpenPlan> OpenPlan::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(Kind::Unavailable, "the plan file ", path, " cannot be read: ", std::strerror(errno));
  return std::make_shared<const OpenPlan>(fd);
}

std::shared_ptr<const OpenPlan> OpenPlan::write(std::string_view bytes) {
  for (const auto opened : {&open_temporary, &open_memory}) {
    const int fd = opened();
    if (fd < 0) continue;
    if (write_all(fd, bytes)) return std::make_shared<const OpenPlan>(fd);
    const int why = errno;
    close(fd);
    errno = why;
  }
  fail(Kind::Unavailable, "a plan of ", bytes.size(), " bytes can be kept neither in the folder for temporary files ",
       "(TMPDIR) nor in memory: ", std::strerror(errno));
}

std::string OpenPlan::path() const { return c10::str("/proc/self/fd/", fd_); }

std::string OpenPlan::head(size_t most) const {
  std::string head(std::min(most, size_), '\0');
  read_at(head.data(), head.size(), 0);
  return head;
}

std::shared_ptr<const MappedFile> OpenPlan::map() const {
  auto mapped = std::make_shared<const MappedFile>(path());
  const auto status = status_of(fd_);
  if (mapped->bytes().size() != size_ || changed_ns(status) != changed_ns_) {
    fail(Kind::Conflict, "the plan's file has been changed since the engine was loaded from it: load it again");
  }
  return mapped;
}

bool OpenPlan::same_bytes(const OpenPlan& other) const {
  if (size_ != other.size_) return false;
  std::vector<char> ours(std::min(kChunk, size_));
  std::vector<char> theirs(ours.size());
  for (size_t offset = 0; offset < size_; offset += kChunk) {
    const size_t count = std::min(kChunk, size_ - offset);
    read_at(ours.data(), count, offset);
    other.read_at(theirs.data(), count, offset);
    if (std::memcmp(ours.data(), theirs.data(), count) != 0) return false;
  }
  return true;
}

void OpenPlan::read_at(char* to, size_t count, size_t offset) const {
  while (count > 0) {
    const ssize_t got = pread(fd_, to, count, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(Kind::Unavailable, "the plan file cannot be read: ", std::strerror(errno));
    if (got == 0) fail(Kind::Conflict, "the plan's file has become shorter while it was in use: load it again");
    to += got;
    count -= static_cast<size_t>(got);
    offset += static_cast<size_t>(got);
  }
}

}  // namespace trtserve
