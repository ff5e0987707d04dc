#include "backends/tensorrt/plan_file.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "core/error.h"

namespace trtserve::tensorrt {

namespace {

/// The first bytes of a plan: since TensorRT 8.6, and before. Not documented by NVIDIA; from
/// https://github.com/NVIDIA/TensorRT/issues/3073, and from plans of TensorRT 8.5.3.
constexpr std::array<std::string_view, 2> kMagics = {"ftrt", "ptrt"};
constexpr size_t kAlignment = 16;  // that of a large allocation, into which plans are usually read

}  // namespace

PlanFile::PlanFile(const std::string& path) : file_(path) {
  const size_t size = file_.bytes().size();
  if (size == 0) fail(Kind::InvalidInput, "the plan is empty");
  if (!begins_with_magic(0) && size > sizeof(uint32_t)) {
    uint32_t length = 0;
    std::memcpy(&length, bytes(), sizeof(length));
    if (begins_with_magic(sizeof(length) + length)) offset_ = sizeof(length) + length;
  }
  if (!begins_with_magic(offset_)) {
    fail(Kind::InvalidInput, "this is not a TensorRT plan: a plan begins with \"ftrt\" or \"ptrt\"");
  }
  if (offset_ % kAlignment != 0) copy_.assign(bytes() + offset_, bytes() + size);
}

bool PlanFile::begins_with_magic(size_t offset) const {
  if (offset > file_.bytes().size()) return false;
  const auto at = file_.bytes().substr(offset);
  return std::any_of(kMagics.begin(), kMagics.end(), [&](const auto magic) { return at.starts_with(magic); });
}

}  // namespace trtserve::tensorrt
