#include "backends/openvino/reason.h"

#include <sstream>

namespace trtserve::openvino {

std::string reason(const std::exception& error) {
  std::istringstream lines(error.what());
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    const auto begin = line.find_first_not_of(" \t\r");
    if (begin == std::string::npos || line.rfind("Exception from ", 0) == 0 || line.rfind("Check '", 0) == 0) continue;
    if (!text.empty()) text += "; ";
    text += line.substr(begin);
  }
  return text.empty() ? error.what() : text;
}

}  // namespace trtserve::openvino
