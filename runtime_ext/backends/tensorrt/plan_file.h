#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/mapped_file.h"

namespace trtserve::tensorrt {

/// A plan file in memory, without the metadata that Ultralytics' exporter writes before the plan: a u32 length and that
/// many bytes of JSON. Mapped, so that a large plan need not be in memory as a whole.
class PlanFile {
 public:
  /// InvalidInput if the file is not a plan of TensorRT 8 or later, or the metadata is longer than the file.
  explicit PlanFile(const std::string& path);

  const void* data() const { return copy_.empty() ? bytes() + offset_ : copy_.data(); }
  size_t size() const { return file_.bytes().size() - offset_; }

 private:
  const std::byte* bytes() const { return reinterpret_cast<const std::byte*>(file_.bytes().data()); }
  bool begins_with_magic(size_t offset) const;

  const MappedFile file_;
  size_t offset_ = 0;            // offset of the plan in the file
  std::vector<std::byte> copy_;  // copy of a plan that begins at an unaligned offset; otherwise empty
};

}  // namespace trtserve::tensorrt
