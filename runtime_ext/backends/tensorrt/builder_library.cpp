#include "backends/tensorrt/builder_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>

#include "backends/tensorrt/builder_generation.h"
#include "core/error.h"

namespace trtserve::tensorrt {

namespace {

constexpr const char* kCreateBuilder = "createInferBuilder_INTERNAL";
constexpr const char* kCreateParser = "createNvOnnxParser_INTERNAL";
constexpr const char* kRegisterPlugins = "initLibNvInferPlugins";

std::string folder_of(const std::string& file) {
  std::error_code unknown;
  const auto path = std::filesystem::canonical(file, unknown);
  return unknown ? "" : path.parent_path().string();
}

/// The folders to look into, the opened library's first; an empty one stands for the system's loader.
std::vector<std::string> folders(const Library& library, const std::vector<std::string>& others) {
  std::vector<std::string> all;
  const auto add = [&](const std::string& folder) {
    if (std::find(all.begin(), all.end(), folder) == all.end()) all.push_back(folder);
  };
  Dl_info info{};
  if (dladdr(library.find(kCreateBuilder), &info) != 0 && info.dli_fname != nullptr) add(folder_of(info.dli_fname));
  for (const auto& other : others) {
    if (other.find('/') != std::string::npos) add(folder_of(other));
  }
  add("");
  return all;
}

/// Opens the library `name` in the first folder that has a usable one; null, with the reasons, if none has.
void* open(const std::vector<std::string>& folders, const std::string& name, std::string& reasons) {
  for (const auto& folder : folders) {
    const std::string path = folder.empty() ? name : c10::str(folder, "/", name);
    if (!folder.empty() && !std::filesystem::exists(path)) continue;
    if (void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE)) return handle;
    reasons += c10::str("; ", dlerror());
  }
  return nullptr;
}

}  // namespace

BuilderLibrary::BuilderLibrary(const Library& library, const std::vector<std::string>& others) : library_(library) {
  if (library.find(kCreateBuilder) == nullptr) {
    fail(Kind::Unsupported, "this server's TensorRT ", library.version(),
         " is the lean one, which cannot build plans: install the full tensorrt of that version, or upload a plan");
  }
  const auto places = folders(library, others);
  std::string reasons;
  // First, since the parser links to it: it need not be in the loader's path.
  if (void* plugins = open(places, c10::str(generation::kPluginsSoname, generation::kMajor), reasons)) {
    register_plugins_ = dlsym(plugins, kRegisterPlugins);
  }
  if (void* parser = open(places, c10::str(generation::kParserSoname, generation::kMajor), reasons)) {
    create_parser_ = dlsym(parser, kCreateParser);
  }
  if (create_parser_ == nullptr) {
    fail(Kind::Unsupported, "this server's TensorRT ", library.version(), " has no usable ONNX parser (",
         generation::kParserSoname, generation::kMajor,
         "), so it cannot build plans: install it beside TensorRT, or upload a plan", reasons);
  }
}

nvinfer1::IBuilder* BuilderLibrary::create_builder(nvinfer1::ILogger& logger) const {
  auto* create = reinterpret_cast<decltype(&createInferBuilder_INTERNAL)>(library_.find(kCreateBuilder));
  return static_cast<nvinfer1::IBuilder*>(create(&logger, generation::kHeaders));
}

nvonnxparser::IParser* BuilderLibrary::create_parser(nvinfer1::INetworkDefinition& network,
                                                     nvinfer1::ILogger& logger) const {
  auto* create = reinterpret_cast<decltype(&createNvOnnxParser_INTERNAL)>(create_parser_);
  return static_cast<nvonnxparser::IParser*>(create(&network, &logger, NV_ONNX_PARSER_VERSION));
}

void BuilderLibrary::register_plugins(nvinfer1::ILogger& logger) const {
  if (register_plugins_ == nullptr) return;
  auto* init = reinterpret_cast<bool (*)(void*, const char*)>(register_plugins_);
  if (!init(&logger, "")) logger.log(nvinfer1::ILogger::Severity::kWARNING, "NVIDIA's plugins were not registered");
}

}  // namespace trtserve::tensorrt
