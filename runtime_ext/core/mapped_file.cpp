#include "core/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace trtserve {

namespace {

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
    if (!S_ISREG(status.st_mode)) fail(Kind::Unavailable, "the plan file cannot be read: it is not a regular file");
    return static_cast<size_t>(status.st_size);
  }
  int fd() const { return fd_; }

 private:
  const int fd_;
};

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  const File file(path);
  size_ = file.size();
  if (size_ == 0) return;
  void* mapping = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd(), 0);
  if (mapping == MAP_FAILED) fail(Kind::Unavailable, "the plan file cannot be mapped: ", std::strerror(errno));
  mapping_ = {mapping, Unmap{size_}};
}

void MappedFile::Unmap::operator()(void* mapping) const { munmap(mapping, size); }

}  // namespace trtserve
