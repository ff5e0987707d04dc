#include "backends/tensorrt/plan_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "core/error.h"

namespace trtserve::tensorrt {

namespace {

/// How a plan begins. Not documented by NVIDIA; from https://github.com/NVIDIA/TensorRT/issues/3073.
constexpr std::string_view kMagic = "ftrt";
constexpr size_t kAlignment = 16;  // of a large allocation, which is what plans are usually read into

/// A file descriptor that closes itself.
class File {
 public:
  explicit File(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ < 0) fail(Kind::Unavailable, "the plan file cannot be read: ", std::strerror(errno));
  }
  ~File() { close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  size_t size() const {
    struct stat status{};
    if (fstat(fd_, &status) != 0) fail(Kind::Unavailable, "the plan file cannot be read: ", std::strerror(errno));
    return static_cast<size_t>(status.st_size);
  }
  int fd() const { return fd_; }

 private:
  const int fd_;
};

}  // namespace

PlanFile::PlanFile(const std::string& path) {
  const File file(path);
  size_ = file.size();
  if (size_ == 0) fail(Kind::InvalidInput, "the plan is empty");
  void* mapping = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd(), 0);
  if (mapping == MAP_FAILED) fail(Kind::Unavailable, "the plan file cannot be mapped: ", std::strerror(errno));
  mapping_ = {mapping, Unmap{size_}};
  if (!begins_with_magic(0) && size_ > sizeof(uint32_t)) {
    uint32_t length = 0;
    std::memcpy(&length, bytes(), sizeof(length));
    if (begins_with_magic(sizeof(length) + length)) offset_ = sizeof(length) + length;
  }
  if (!begins_with_magic(offset_)) {
    fail(Kind::InvalidInput, "this is not a TensorRT plan: a plan begins with \"ftrt\"");
  }
  if (offset_ % kAlignment != 0) copy_.assign(bytes() + offset_, bytes() + size_);
}

void PlanFile::Unmap::operator()(void* mapping) const { munmap(mapping, size); }

bool PlanFile::begins_with_magic(size_t offset) const {
  return offset + kMagic.size() <= size_ && std::memcmp(bytes() + offset, kMagic.data(), kMagic.size()) == 0;
}

}  // namespace trtserve::tensorrt
