#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace trtserve {

/// A file mapped read-only into memory; pages are read on access. Immutable: any thread may read it.
class MappedFile {
 public:
  /// Unavailable if the file cannot be read.
  explicit MappedFile(const std::string& path);

  std::string_view bytes() const { return {static_cast<const char*>(mapping_.get()), size_}; }

 private:
  struct Unmap {
    size_t size;
    void operator()(void* mapping) const;
  };

  size_t size_ = 0;
  std::unique_ptr<void, Unmap> mapping_{nullptr, Unmap{0}};  // null for an empty file
};

}  // namespace trtserve
