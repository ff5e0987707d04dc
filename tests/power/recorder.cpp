// Preloaded into a process, writes down every change that it makes to the files below one folder, in order.
//
//   RECORD_ROOT   the folder, an absolute path without links
//   RECORD_TO     the file that takes the record; it lies outside of the folder
//
// A line for each change, its fields apart by one space (tests/power/disk.py reads them); a write's bytes follow its
// line. Files and folders are named by their inode, which a new one may have from a deleted one:
//
//   D folder inode name          a new folder            C folder inode name          a new file, or a new name of one
//   U folder name                a name is gone          R folder name folder name    a rename
//   W inode offset bytes         a write                 T inode bytes                a new size
//   S inode                      an fsync of a file or a folder
//
// Thread safe: one lock is held over each call and its line, so the order of the record is that of the changes.
// What a process writes through a mapping is not recorded; SQLite maps only the index of its log, which a start
// makes anew.

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>

namespace {

constexpr int kDescriptors = 65536;

std::recursive_mutex& order() {
  static auto* mutex = new std::recursive_mutex;  // it outlives every destructor that still writes files
  return *mutex;
}

std::array<std::atomic<bool>, kDescriptors> recorded;  // by descriptor: it is open on something below the root

template <typename Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

const std::string& root() {
  static const auto* path = new std::string(std::getenv("RECORD_ROOT") ? std::getenv("RECORD_ROOT") : "");
  return *path;
}

void put(const std::string& line, const void* bytes = nullptr, size_t size = 0) {
  static const int to = static_cast<int>(
      syscall(SYS_openat, AT_FDCWD, std::getenv("RECORD_TO"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  std::string all = line + "\n";
  all.append(static_cast<const char*>(bytes), size);
  if (syscall(SYS_write, to, all.data(), all.size()) != static_cast<long>(all.size())) {
    std::perror("the record cannot be written");
    std::abort();
  }
}

// An entry below the root: its folder's inode and its name there.
struct Entry {
  std::string folder;
  std::string name;
  std::string path;
};

std::string inode(const std::string& path) {
  struct stat found{};
  return lstat(path.c_str(), &found) == 0 ? std::to_string(found.st_ino) : "";
}

std::optional<Entry> entry(int folder, const char* path) {
  if (root().empty() || path == nullptr) {
    return std::nullopt;
  }
  std::filesystem::path whole = path;
  if (whole.is_relative()) {
    std::array<char, PATH_MAX> base{};
    const std::string link = folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/" + std::to_string(folder);
    if (readlink(link.c_str(), base.data(), base.size() - 1) < 0) {
      return std::nullopt;
    }
    whole = base.data() / whole;
  }
  whole = whole.lexically_normal();
  if (whole.string().rfind(root() + "/", 0) != 0) {
    return std::nullopt;
  }
  return Entry{inode(whole.parent_path()), whole.filename(), whole};
}

bool is_recorded(int descriptor) { return descriptor >= 0 && descriptor < kDescriptors && recorded.at(descriptor); }

std::string inode(int descriptor) {
  struct stat found{};
  return fstat(descriptor, &found) == 0 ? std::to_string(found.st_ino) : "";
}

int opened(int folder, const char* path, int flags, mode_t mode) {
  const std::lock_guard lock(order());
  const auto where = entry(folder, path);
  const bool is_new = where && inode(where->path).empty();
  const int descriptor = static_cast<int>(syscall(SYS_openat, folder, path, flags, mode));
  if (descriptor < 0 || descriptor >= kDescriptors) {
    return descriptor;
  }
  recorded.at(descriptor) = where || (path != nullptr && root() == path);
  if (where && is_new) {
    put("C " + where->folder + " " + inode(descriptor) + " " + where->name);
  } else if (where && (flags & O_TRUNC) != 0) {
    put("T " + inode(descriptor) + " 0");
  }
  return descriptor;
}

template <typename Call>
int renamed(int from_folder, const char* from, int to_folder, const char* to, Call call) {
  const std::lock_guard lock(order());
  const auto source = entry(from_folder, from);
  const auto target = entry(to_folder, to);
  const int code = call();
  if (code == 0 && source && target) {
    put("R " + source->folder + " " + source->name + " " + target->folder + " " + target->name);
  }
  return code;
}

template <typename Call>
int removed(int folder, const char* path, Call call) {
  const std::lock_guard lock(order());
  const auto where = entry(folder, path);
  const int code = call();
  if (code == 0 && where) {
    put("U " + where->folder + " " + where->name);
  }
  return code;
}

template <typename Call>
int named(char what, int folder, const char* path, Call call) {
  const std::lock_guard lock(order());
  const int code = call();
  const auto where = entry(folder, path);
  if (code == 0 && where) {
    put(std::string(1, what) + " " + where->folder + " " + inode(where->path) + " " + where->name);
  }
  return code;
}

template <typename Call>
int synced(int descriptor, Call call) {
  const std::lock_guard lock(order());
  const int code = call();
  if (code == 0 && is_recorded(descriptor)) {
    put("S " + inode(descriptor));
  }
  return code;
}

template <typename Call>
int resized(int descriptor, off64_t least, bool may_shrink, Call call) {
  const std::lock_guard lock(order());
  const int code = call();
  struct stat found{};
  if (code == 0 && is_recorded(descriptor) && fstat(descriptor, &found) == 0) {
    put("T " + std::to_string(found.st_ino) + " " + std::to_string(may_shrink ? least : found.st_size));
  }
  return code;
}

template <typename Call>
ssize_t written(int descriptor, const void* bytes, off64_t offset, Call call) {
  const std::lock_guard lock(order());
  const ssize_t count = call();
  if (count > 0 && is_recorded(descriptor)) {
    const off64_t at = offset >= 0 ? offset : lseek64(descriptor, 0, SEEK_CUR) - count;
    put("W " + inode(descriptor) + " " + std::to_string(at) + " " + std::to_string(count), bytes,
        static_cast<size_t>(count));
  }
  return count;
}

mode_t mode_of(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

}  // namespace

extern "C" {

#define OPEN(name)                                 \
  int name(const char* path, int flags, ...) {     \
    va_list arguments;                             \
    va_start(arguments, flags);                    \
    const mode_t mode = mode_of(flags, arguments); \
    va_end(arguments);                             \
    return opened(AT_FDCWD, path, flags, mode);    \
  }
#define OPENAT(name)                                       \
  int name(int folder, const char* path, int flags, ...) { \
    va_list arguments;                                     \
    va_start(arguments, flags);                            \
    const mode_t mode = mode_of(flags, arguments);         \
    va_end(arguments);                                     \
    return opened(folder, path, flags, mode);              \
  }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int close(int descriptor) {
  if (descriptor >= 0 && descriptor < kDescriptors) {
    recorded.at(descriptor) = false;
  }
  return static_cast<int>(syscall(SYS_close, descriptor));
}

ssize_t write(int descriptor, const void* bytes, size_t size) {
  return written(descriptor, bytes, -1, [&] { return syscall(SYS_write, descriptor, bytes, size); });
}
ssize_t pwrite(int descriptor, const void* bytes, size_t size, off_t offset) {
  return written(descriptor, bytes, offset, [&] { return syscall(SYS_pwrite64, descriptor, bytes, size, offset); });
}
ssize_t pwrite64(int descriptor, const void* bytes, size_t size, off64_t offset) {
  return written(descriptor, bytes, offset, [&] { return syscall(SYS_pwrite64, descriptor, bytes, size, offset); });
}

int ftruncate(int descriptor, off_t size) noexcept {
  return resized(descriptor, size, true, [&] { return static_cast<int>(syscall(SYS_ftruncate, descriptor, size)); });
}
int ftruncate64(int descriptor, off64_t size) noexcept {
  return resized(descriptor, size, true, [&] { return static_cast<int>(syscall(SYS_ftruncate, descriptor, size)); });
}
int posix_fallocate(int descriptor, off_t offset, off_t size) {
  return resized(descriptor, 0, false,
                 [&] { return next<decltype(posix_fallocate)>("posix_fallocate")(descriptor, offset, size); });
}
int posix_fallocate64(int descriptor, off64_t offset, off64_t size) {
  return resized(descriptor, 0, false,
                 [&] { return next<decltype(posix_fallocate64)>("posix_fallocate64")(descriptor, offset, size); });
}

int fsync(int descriptor) {
  return synced(descriptor, [&] { return static_cast<int>(syscall(SYS_fsync, descriptor)); });
}
int fdatasync(int descriptor) {
  return synced(descriptor, [&] { return static_cast<int>(syscall(SYS_fdatasync, descriptor)); });
}

int rename(const char* from, const char* to) noexcept {
  return renamed(AT_FDCWD, from, AT_FDCWD, to, [&] { return next<decltype(rename)>("rename")(from, to); });
}
int renameat(int from_folder, const char* from, int to_folder, const char* to) noexcept {
  return renamed(from_folder, from, to_folder, to,
                 [&] { return next<decltype(renameat)>("renameat")(from_folder, from, to_folder, to); });
}
int unlink(const char* path) noexcept {
  return removed(AT_FDCWD, path, [&] { return next<decltype(unlink)>("unlink")(path); });
}
int unlinkat(int folder, const char* path, int flags) noexcept {
  return removed(folder, path, [&] { return next<decltype(unlinkat)>("unlinkat")(folder, path, flags); });
}
int rmdir(const char* path) noexcept {
  return removed(AT_FDCWD, path, [&] { return next<decltype(rmdir)>("rmdir")(path); });
}
int mkdir(const char* path, mode_t mode) noexcept {
  return named('D', AT_FDCWD, path, [&] { return next<decltype(mkdir)>("mkdir")(path, mode); });
}
int link(const char* from, const char* to) noexcept {
  return named('C', AT_FDCWD, to, [&] { return next<decltype(link)>("link")(from, to); });
}
int linkat(int from_folder, const char* from, int to_folder, const char* to, int flags) noexcept {
  return named('C', to_folder, to,
               [&] { return next<decltype(linkat)>("linkat")(from_folder, from, to_folder, to, flags); });
}

}  // extern "C"
