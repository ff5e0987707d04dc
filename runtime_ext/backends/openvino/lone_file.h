#pragma once

#include <string>

namespace trtserve::openvino {

/// The same file in a folder of its own, for as long as this lives: an ONNX model may name further files beside
/// it to take weights from, and beside a plan lie the plans of others.
class LoneFile {
 public:
  /// Unavailable where the folder cannot be made beside the file, or the file system has no hard links.
  explicit LoneFile(const std::string& path);
  ~LoneFile();
  LoneFile(const LoneFile&) = delete;
  LoneFile& operator=(const LoneFile&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string folder_;
  std::string path_;
};

}  // namespace trtserve::openvino
