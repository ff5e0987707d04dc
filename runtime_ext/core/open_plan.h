#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "core/mapped_file.h"

namespace trtserve {

/// A plan that stays readable as long as this exists, whatever becomes of its path: an open file. Immutable and thread
/// safe.
class OpenPlan {
 public:
  /// Opens a plan's file. Unavailable if it cannot be read.
  static std::shared_ptr<const OpenPlan> open(const std::string& path);

  /// Keeps the bytes in a file without a name: in the folder for temporary files, or in memory if that takes no files.
  /// Unavailable if neither has room.
  static std::shared_ptr<const OpenPlan> write(std::string_view bytes);

  /// Takes over the descriptor of an open file, even if this throws.
  explicit OpenPlan(int fd);
  ~OpenPlan();
  OpenPlan(const OpenPlan&) = delete;
  OpenPlan& operator=(const OpenPlan&) = delete;

  /// A path by which this process can open the file as long as this exists.
  std::string path() const;
  size_t size() const { return size_; }

  /// The first bytes: as many as there are, and at most `most`.
  std::string head(size_t most) const;

  /// All bytes, as a view on the file and not a copy. Conflict if somebody has changed the file since it was opened.
  std::shared_ptr<const MappedFile> map() const;

  /// True if both have the same bytes. Reads both.
  bool same_bytes(const OpenPlan& other) const;

 private:
  void read_at(char* to, size_t count, size_t offset) const;

  const int fd_;
  size_t size_ = 0;
  long long changed_ns_ = 0;  // when the file was changed last, as its status says
};

}  // namespace trtserve
