#include "backends/torchscript/archive.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>

#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/serialization/import_read.h>
#include <torch/csrc/jit/serialization/import_source.h>

#include "backends/torchscript/allowed.h"
#include "backends/torchscript/failure.h"
#include "backends/torchscript/nodes.h"
#include "backends/torchscript/source.h"
#include "core/error.h"

namespace trtserve::torchscript {

using caffe2::serialize::PyTorchStreamReader;
using torch::jit::CompilationUnit;
using torch::jit::Source;

namespace {

constexpr const char* kDescription = "extra/trtserve.json";

std::string text_of(PyTorchStreamReader& reader, const std::string& record) {
  const auto [data, size] = reader.getRecord(record);
  return {static_cast<const char*>(data.get()), size};
}

/// Makes an object of its attributes alone.
c10::intrusive_ptr<c10::ivalue::Object> make_object(const c10::StrongTypePtr& type, const c10::IValue& state) {
  const auto cls = type.type_->cast<c10::ClassType>();
  if (!cls) fail(Kind::InvalidInput, "the module has an object that is not a class: ", type.type_->repr_str());
  const auto name = cls->name() ? cls->name()->qualifiedName() : "without a name";
  if (cls->findMethod("__setstate__") != nullptr || !state.isGenericDict()) {
    fail(Kind::InvalidInput, "the module's class ", name,
         " defines __setstate__: code that runs while a module is loaded is not allowed");
  }
  const auto attributes = state.toGenericDict();
  auto object = c10::ivalue::Object::create(type, cls->numAttributes());
  for (size_t i = 0; i < cls->numAttributes(); ++i) {
    object->setSlot(i, attributes.at(cls->getAttributeName(i)));
  }
  return object;
}

/// Makes tensors without values tensors of zeros: memory that was freed may hold the data of other clients.
void fill_empty(torch::jit::Graph& graph) {
  static const std::set<std::string> kEmpty = {"aten::empty",     "aten::empty_like",        "aten::empty_strided",
                                               "aten::new_empty", "aten::new_empty_strided", "aten::empty_permuted"};
  for_each_node(graph, [](torch::jit::Node& node) {
    if (kEmpty.count(node.kind().toQualString()) == 0) return;
    auto* tensor = node.output();
    auto* filled = node.owningGraph()->create(c10::Symbol::fromQualString("aten::zero_"), {tensor});
    filled->insertAfter(&node);
    filled->output()->setType(tensor->type());
    tensor->replaceAllUsesAfterNodeWith(filled, filled->output());
  });
}

/// Reads one archive. Used once, by one thread.
class Reader {
 public:
  Reader(const std::string& path, at::Device device)
      : device_(device),
        reader_(std::make_shared<PyTorchStreamReader>(path)),
        importer_(
            unit_, &constants_, [this](const std::string& module) { return source(module); }, reader_->version()) {
    for (const char* record : {"constants.pkl", "data.pkl"}) {
      if (!reader_->hasRecord(record)) {
        fail(Kind::InvalidInput, "the file has no ", record, ": send a file of torch.jit.save()");
      }
    }
  }
  ~Reader() = default;
  Reader(const Reader&) = delete;  // the importer refers to it
  Reader& operator=(const Reader&) = delete;

  Archive read() {
    auto constants = objects("constants");
    if (!constants.isTuple()) fail(Kind::InvalidInput, "the file's constants.pkl is not a tuple");
    for (const auto& constant : constants.toTupleRef().elements()) constants_.push_back(constant);
    auto data = objects("data");
    if (!data.isObject() || !data.type()->cast<c10::ClassType>()->is_module()) {
      fail(Kind::InvalidInput, "the file's data.pkl is not a module");
    }
    check_functions(*unit_);
    for (auto* function : unit_->get_functions()) fill_empty(*torch::jit::toGraphFunction(*function).graph());
    Archive archive{torch::jit::Module(data.toObject()), ""};
    if (reader_->hasRecord(kDescription)) archive.description = text_of(*reader_, kDescription);
    return archive;
  }

 private:
  /// The source of a module by its name in Python; null if there is none.
  std::shared_ptr<Source> source(const std::string& module) {
    std::string file = "code/" + module;
    std::replace(file.begin(), file.end(), '.', '/');
    file += ".py";
    if (!reader_->hasRecord(file)) return nullptr;
    auto found = std::make_shared<Source>(text_of(*reader_, file), file, 1);
    check_source(file, found);
    return found;
  }

  c10::IValue objects(const std::string& name) {
    const auto resolve = [this](const c10::QualifiedName& type) {
      if (type.qualifiedName().rfind("__torch__.torch.classes", 0) == 0) refuse_class(type.qualifiedName());
      auto found = importer_.loadType(type);
      if (!found) fail(Kind::InvalidInput, "the file has no source of ", type.qualifiedName());
      return c10::StrongTypePtr(unit_, std::move(found));
    };
    return torch::jit::readArchiveAndTensors(name, "", name + "/", resolve, make_object, device_, *reader_);
  }

  const at::Device device_;
  const std::shared_ptr<CompilationUnit> unit_ = std::make_shared<CompilationUnit>();
  std::vector<c10::IValue> constants_;
  const std::shared_ptr<PyTorchStreamReader> reader_;
  const torch::jit::SourceImporter importer_;
};

}  // namespace

Archive read_archive(const std::string& path, at::Device device) {
  if (!std::filesystem::is_regular_file(path)) fail(Kind::NotFound, "there is no file ", path);
  try {
    return Reader(path, device).read();
  } catch (const Error&) {
    throw;
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const std::exception& error) {
    fail(Kind::InvalidInput, "torch cannot read the module: ", first_reason(error));
  }
}

}  // namespace trtserve::torchscript
