#include "backends/openvino/lone_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "core/error.h"

namespace trtserve::openvino {

LoneFile::LoneFile(const std::string& path) : folder_(path + ".XXXXXX") {
  if (mkdtemp(folder_.data()) == nullptr) {
    fail(Kind::Unavailable, "no folder can be made beside the plan: ", std::strerror(errno));
  }
  path_ = folder_ + "/model.onnx";
  if (link(path.c_str(), path_.c_str()) != 0) {
    const int reason = errno;
    rmdir(folder_.c_str());
    fail(Kind::Unavailable, "the plan cannot be linked into a folder of its own: ", std::strerror(reason));
  }
}

LoneFile::~LoneFile() {
  unlink(path_.c_str());
  rmdir(folder_.c_str());
}

}  // namespace trtserve::openvino
