#include "backends/tensorrt/timing_cache.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>

#include "backends/tensorrt/builder_generation.h"
#include "core/error.h"
#include "core/log.h"

namespace trtserve::tensorrt {

namespace {

constexpr std::string_view kMagic = "trtserve timing cache 1";

/// FNV-1a of 64 bits: against damage, not against forgery.
uint64_t checksum(std::string_view bytes) {
  uint64_t hash = 14695981039346656037U;
  for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211U;
  return hash;
}

std::string header(const std::string& version, std::string_view measurements) {
  return c10::str(kMagic, "\n", version, "\n", measurements.size(), " ", checksum(measurements), "\n");
}

void warn(const std::string& file, const std::string& sentence) {
  log(Severity::Warning, "tensorrt", c10::str("the timing cache ", file, " ", sentence));
}

/// The measurements in the file; empty if it does not exist or is of no use.
std::string read(const std::string& file, const std::string& version) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    if (std::filesystem::exists(file)) warn(file, "cannot be read, and is ignored");
    return {};
  }
  std::string magic;
  std::string written_by;
  std::string sizes;
  std::getline(stream, magic);
  std::getline(stream, written_by);
  std::getline(stream, sizes);
  std::ostringstream rest;
  rest << stream.rdbuf();
  std::string measurements = std::move(rest).str();
  if (magic != kMagic) {
    warn(file, "is not one of this server's, and is ignored");
  } else if (written_by != version) {
    warn(file, c10::str("was written with TensorRT ", written_by, ", and is ignored: this is ", version));
  } else if (header(version, measurements) != c10::str(magic, "\n", written_by, "\n", sizes, "\n")) {
    warn(file, "is damaged, and is ignored");
  } else {
    return measurements;
  }
  return {};
}

}  // namespace

TimingCache::TimingCache(std::string file, std::string version)
    : file_(std::move(file)), version_(std::move(version)) {}

TimingCache::~TimingCache() = default;

bool TimingCache::offer(nvinfer1::IBuilderConfig& config, const std::string& measurements) {
  cache_.reset(config.createTimingCache(measurements.data(), measurements.size()));
  return cache_ && config.setTimingCache(*cache_, /*ignoreMismatch=*/false);
}

void TimingCache::attach(nvinfer1::IBuilderConfig& config, BuildLog& log) {
  if (file_.empty()) return;
  const std::string measurements = read(file_, version_);
  if (!measurements.empty()) {
    if (offer(config, measurements)) return;
    warn(file_, "is of another GPU or is not accepted, and is ignored");
    log.clear();
  }
  if (!offer(config, "")) log.fail_with_errors(Kind::ExecutionFailed, "TensorRT takes no timing cache");
}

void TimingCache::save() const {
  if (cache_ == nullptr) return;
  const std::unique_ptr<nvinfer1::IHostMemory> memory(cache_->serialize());
  if (memory == nullptr) return warn(file_, "is not written: TensorRT does not give its measurements");
  const std::string_view measurements(static_cast<const char*>(memory->data()), memory->size());
  const std::string part = c10::str(file_, ".", getpid(), ".part");
  std::ofstream stream(part, std::ios::binary | std::ios::trunc);
  stream << header(version_, measurements) << measurements;
  stream.close();
  std::error_code failure;
  if (stream) std::filesystem::rename(part, file_, failure);
  if (stream && !failure) return;
  std::error_code ignored;
  std::filesystem::remove(part, ignored);
  warn(file_, "cannot be written");
}

}  // namespace trtserve::tensorrt
