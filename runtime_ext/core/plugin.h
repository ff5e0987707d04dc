#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/backend.h"

namespace trtserve {

/// A plugin library, opened on first need and never closed: the libraries behind a backend keep threads and exit
/// handlers of their own, so unmapping them is not safe. Thread safe.
class Plugin {
 public:
  /// `libraries` are opened first, for a plugin that links to libraries outside the loader's path. `config` is passed
  /// to the backend.
  Plugin(std::string name, std::string path, std::vector<std::string> libraries, BackendConfig config);

  /// Unavailable, with the loader's reason, if the library cannot be opened; the next call tries again.
  std::shared_ptr<Backend> backend();

 private:
  const std::string name_;
  const std::string path_;
  const std::vector<std::string> libraries_;
  const BackendConfig config_;
  std::mutex mutex_;                  // one thread opens; the others wait for the result
  std::shared_ptr<Backend> backend_;  // guarded by mutex_; never replaced once set
};

}  // namespace trtserve
