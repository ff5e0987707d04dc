#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include <NvInferRuntime.h>

// What differs between the generations of TensorRT, where it is a word or a line. engine_8.cpp, context_8.cpp and
// library_8.cpp have the methods that only TensorRT 8 has, and their counterparts those of TensorRT 10 and later. What
// TensorRT 8.5.3 does was seen on an H100.

namespace trtserve::fake::trt {

#if NV_TENSORRT_MAJOR >= 10

/// True if any number of contexts may use a profile at the same time; otherwise, only one may.
inline constexpr bool kProfilesAreShared = true;
/// True if setInputShape() checks the shape against the profile; otherwise, it returns true for any.
inline constexpr bool kShapesAreChecked = true;
/// True if a context's scratch memory only has to suffice for its shapes; otherwise, for the largest of the engine.
inline constexpr bool kScratchFollowsShapes = true;
/// True if enqueueV3 asks an output allocator for what the output needs; otherwise, for what it needed the last time,
/// which getMaxOutputSize() then returns too.
inline constexpr bool kAsksForNeededBytes = true;

/// The type of indices and shapes that the engine computes.
using Index = int64_t;
inline constexpr auto kIndexType = nvinfer1::DataType::kINT64;

inline void* allocate(nvinfer1::IGpuAllocator& allocator, uint64_t size, uint64_t alignment) {
  return allocator.allocateAsync(size, alignment, 0, nullptr);
}
inline bool deallocate(nvinfer1::IGpuAllocator& allocator, void* memory) {
  return allocator.deallocateAsync(memory, nullptr);
}
inline void* reallocate(nvinfer1::IOutputAllocator& allocator, const char* name, void* current, uint64_t size,
                        uint64_t alignment, cudaStream_t stream) {
  return allocator.reallocateOutputAsync(name, current, size, alignment, stream);
}

/// The major version of a version number in the library's form.
inline int32_t major_of(int64_t version) { return static_cast<int32_t>(version / 10000); }

/// Of a plan: the first bytes, and where the numbers of the version are that built it.
inline constexpr const char* kPlanMagic = "ftrt";
inline constexpr std::array<size_t, 4> kVersionAt = {24, 25, 26, 27};
inline constexpr size_t kHeaderBytes = 32;

#else

inline constexpr bool kProfilesAreShared = false;
inline constexpr bool kShapesAreChecked = false;
inline constexpr bool kScratchFollowsShapes = false;
inline constexpr bool kAsksForNeededBytes = false;

using Index = int32_t;
inline constexpr auto kIndexType = nvinfer1::DataType::kINT32;

inline void* allocate(nvinfer1::IGpuAllocator& allocator, uint64_t size, uint64_t alignment) {
  return allocator.allocate(size, alignment, 0);
}
inline bool deallocate(nvinfer1::IGpuAllocator& allocator, void* memory) { return allocator.deallocate(memory); }
inline void* reallocate(nvinfer1::IOutputAllocator& allocator, const char* name, void* current, uint64_t size,
                        uint64_t alignment, cudaStream_t /*stream*/) {
  return allocator.reallocateOutput(name, current, size, alignment);
}

inline int32_t major_of(int64_t version) {
  return static_cast<int32_t>(version < 10000 ? version / 1000 : version / 10000);
}

inline constexpr const char* kPlanMagic = "ptrt";
inline constexpr std::array<size_t, 4> kVersionAt = {28, 33, 38, 43};  // each after a tag of four bytes
inline constexpr size_t kHeaderBytes = 44;

#endif

}  // namespace trtserve::fake::trt
