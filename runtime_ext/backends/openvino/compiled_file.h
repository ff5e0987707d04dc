#pragma once

#include <optional>
#include <string>

#include <openvino/core/model.hpp>
#include <openvino/runtime/core.hpp>

namespace trtserve::openvino {

/// Says what a compiled model depends on besides its plan: the libraries, the CPU, and how it is compiled.
std::string compiled_key(ov::Core& core, const ov::AnyMap& properties);

/// True if a compiled form of the model can be imported: all its operations are OpenVINO's. A guard is a check in this
/// process, which no file can hold.
bool can_be_kept(const ov::Model& model);

/// Writes the compiled model to a new file, after kCompiledHead zero bytes. Throws if that fails.
void write_compiled(const std::string& path, const std::string& key, ov::CompiledModel& model);

/// Returns the compiled model in a file of write_compiled(). Nothing, with a line in the log, if the file has another
/// key, or cannot be imported as the same model; nothing without a line if there is no file.
std::optional<ov::CompiledModel> read_compiled(const std::string& path, const std::string& key, ov::Core& core,
                                               const ov::AnyMap& properties);

}  // namespace trtserve::openvino
