#include "backends/torchscript/description.h"

#include <algorithm>
#include <map>
#include <optional>

#include <torch/csrc/jit/frontend/lexer.h>
#include <torch/csrc/jit/frontend/parser.h>
#include <torch/csrc/jit/frontend/tree_views.h>

#include "core/byte_strings.h"
#include "core/error.h"

namespace trtserve::torchscript {

using torch::jit::Expr;

namespace {

constexpr size_t kMostCharacters = 1 << 20;

[[noreturn]] void refuse(const std::string& what) {
  fail(Kind::InvalidInput, "the description of the module's tensors ", what);
}

// The document has objects, lists, strings and whole numbers only. In these, JSON is what TorchScript's parser reads as
// literals.

using Members = std::map<std::string, Expr>;

std::string string_in(const Expr& value, const std::string& of) {
  if (value.kind() != torch::jit::TK_STRINGLITERAL) refuse("has " + of + " that is not a string");
  return torch::jit::StringLiteral(value).text();
}

std::vector<Expr> list_in(const Expr& value, const std::string& of) {
  if (value.kind() != torch::jit::TK_LIST_LITERAL) refuse("has " + of + " that is not a list");
  const auto list = torch::jit::ListLiteral(value).inputs();
  std::vector<Expr> elements;
  for (const auto& element : list) elements.push_back(element);
  return elements;
}

Members object_in(const Expr& value, const std::string& of, const std::vector<std::string>& allowed) {
  if (value.kind() != torch::jit::TK_DICT_LITERAL) refuse("has " + of + " that is not an object");
  const auto literal = torch::jit::DictLiteral(value);
  const auto names = literal.key_inputs();
  const auto values = literal.value_inputs();
  Members members;
  for (size_t i = 0; i < names.size(); ++i) {
    const auto name = string_in(names[i], "a name");
    if (std::find(allowed.begin(), allowed.end(), name) == allowed.end()) refuse(c10::str("has '", name, "' in ", of));
    if (!members.emplace(name, values[i]).second) refuse(c10::str("has '", name, "' twice in ", of));
  }
  for (const auto& name : allowed) {
    if (members.count(name) == 0) refuse(c10::str("has no '", name, "' in ", of));
  }
  return members;
}

int64_t dimension(const Expr& value, const std::string& of) {
  const bool negative = value.kind() == torch::jit::TK_UNARY_MINUS;
  const Expr number = negative ? Expr(value.tree()->trees().at(0)) : value;
  if (number.kind() == torch::jit::TK_CONST) {
    const auto constant = torch::jit::Const(number);
    if (constant.isIntegral()) {
      const int64_t size = negative ? -constant.asIntegral() : constant.asIntegral();
      if (size >= -1) return size;
    }
  }
  refuse("has a dimension in the shape of '" + of + "' that is neither -1 nor a whole number from 0");
}

TensorSpec tensor(const Expr& value, const std::string& of) {
  const auto members = object_in(value, of, {"name", "datatype", "shape"});
  TensorSpec spec;
  spec.name = string_in(members.at("name"), "a name");
  const auto datatype = string_in(members.at("datatype"), "a datatype");
  const auto dtype = parse_datatype(datatype);
  if (!dtype) {
    std::string allowed;
    for (const auto& known : datatypes()) allowed += std::string(known.name) + ", ";
    allowed += datatype_name(kBytes);
    refuse("gives '" + spec.name + "' the datatype " + datatype + "; allowed are " + allowed);
  }
  spec.dtype = *dtype;
  spec.on_host = *dtype == kBytes;
  spec.shape.emplace();
  for (const auto& size : list_in(members.at("shape"), "a shape")) spec.shape->push_back(dimension(size, spec.name));
  return spec;
}

Description parse(const std::string& document) {
  if (document.size() > kMostCharacters) refuse("is too long");
  std::optional<Expr> root;
  try {
    torch::jit::Parser parser(std::make_shared<torch::jit::Source>(document));
    root = parser.parseExp();
    parser.lexer().nextIf(torch::jit::TK_NEWLINE);
    if (parser.lexer().cur().kind != torch::jit::TK_EOF) root.reset();
  } catch (const std::exception&) {
    root.reset();
  }
  if (!root) refuse("is no JSON of objects, lists, strings and whole numbers");
  const auto members = object_in(*root, "it", {"inputs", "outputs"});
  Description description;
  for (const auto& input : list_in(members.at("inputs"), "'inputs'"))
    description.inputs.push_back(tensor(input, "an input"));
  for (const auto& output : list_in(members.at("outputs"), "'outputs'"))
    description.outputs.push_back(tensor(output, "an output"));
  return description;
}

std::vector<c10::Argument> inputs_of(const c10::FunctionSchema& forward) {
  const auto& arguments = forward.arguments();
  return {arguments.begin() + 1, arguments.end()};  // without self
}

bool is_list_of(const c10::TypePtr& type, const c10::TypePtr& element) {
  const auto list = type->cast<c10::ListType>();
  return list && *list->getElementType() == *element;
}

/// What a value of this type can be: a tensor, text or binary strings.
bool is_tensor(const c10::TypePtr& type) { return type->kind() == c10::TypeKind::TensorType; }
bool is_text(const c10::TypePtr& type) { return is_list_of(type, c10::StringType::get()); }
bool is_binary(const c10::TypePtr& type) { return is_list_of(type, c10::TensorType::get()); }

/// The types of the outputs that forward returns; nothing if it is a list of tensors, which is as many outputs as are
/// described, or one of strings.
std::optional<std::vector<c10::TypePtr>> outputs_of(const c10::FunctionSchema& forward) {
  const auto& type = forward.returns().at(0).type();
  if (is_tensor(type) || is_text(type)) return std::vector{type};
  if (is_binary(type)) return std::nullopt;
  if (const auto tuple = type->cast<c10::TupleType>()) {
    const auto elements = tuple->elements();
    const auto is_output = [](const auto& element) {
      return is_tensor(element) || is_text(element) || is_binary(element);
    };
    if (std::all_of(elements.begin(), elements.end(), is_output)) return elements.vec();
  }
  fail(Kind::InvalidInput, "the module's forward returns ", type->repr_str(),
       "; allowed are a Tensor, List[str] or List[Tensor] for strings, a tuple of these, and List[Tensor] for tensors");
}

/// Checks that a tensor as described can be a value of this type, and notes whether its strings are text.
void match(TensorSpec& spec, const c10::TypePtr& type, const char* role) {
  if (spec.dtype != kBytes) {
    if (is_tensor(type)) return;
    refuse(c10::str("gives the ", role, " '", spec.name, "' the datatype ", datatype_name(spec.dtype),
                    "; the module's forward has ", type->repr_str(), " there, which is for BYTES"));
  }
  spec.text = is_text(type);
  if (!spec.text && !is_binary(type)) {
    refuse(c10::str("gives the ", role, " '", spec.name, "' the datatype BYTES; the module's forward has ",
                    type->repr_str(), " there, and strings are List[str] (text) or List[Tensor] (bytes)"));
  }
  if (std::string(role) == "output" && std::count(spec.shape->begin(), spec.shape->end(), -1) > 1) {
    refuse(c10::str("gives the output '", spec.name,
                    "', which is strings, a shape with several dimensions that vary: "
                    "forward returns a flat list, so at most one may"));
  }
}

std::string to_fill_in(const c10::FunctionSchema& forward) {
  const auto entry = [](const std::string& name, const c10::TypePtr& type) {
    const std::string datatype = is_tensor(type) ? "FP32" : datatype_name(kBytes);
    return "{\"name\": \"" + name + "\", \"datatype\": \"" + datatype + "\", \"shape\": [-1]}";
  };
  std::string inputs;
  for (const auto& argument : inputs_of(forward)) {
    inputs += (inputs.empty() ? "" : ", ") + entry(argument.name(), argument.type());
  }
  std::string outputs;
  const auto types = outputs_of(forward).value_or(std::vector<c10::TypePtr>{c10::TensorType::get()});
  for (size_t i = 0; i < types.size(); ++i) outputs += (i == 0 ? "" : ", ") + entry(c10::str("output", i), types[i]);
  return "{\"inputs\": [" + inputs + "], \"outputs\": [" + outputs + "]}";
}

}  // namespace

Description describe(const std::string& document, const c10::FunctionSchema& forward) {
  const auto arguments = inputs_of(forward);
  for (const auto& argument : arguments) {
    if (is_tensor(argument.type()) || is_text(argument.type()) || is_binary(argument.type())) continue;
    fail(Kind::InvalidInput, "the argument ", argument.name(), " of the module's forward is ",
         argument.type()->repr_str(), "; allowed are Tensor, and for strings List[str] and List[Tensor]");
  }
  const auto outputs = outputs_of(forward);
  if (document.empty()) {
    fail(Kind::InvalidInput,
         "the module does not say what its tensors are: fill in the datatypes and shapes (-1 for a dimension that "
         "varies) "
         "and send it along, or keep it in the archive as extra file trtserve.json: ",
         to_fill_in(forward));
  }
  auto description = parse(document);
  if (description.inputs.size() != arguments.size()) {
    refuse(c10::str("has ", description.inputs.size(), " inputs; the module's forward takes ", arguments.size()));
  }
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (description.inputs[i].name != arguments[i].name()) {
      refuse(c10::str("calls input ", i, " '", description.inputs[i].name, "'; the argument's name is '",
                      arguments[i].name(), "'"));
    }
    match(description.inputs[i], arguments[i].type(), "input");
  }
  if (outputs && description.outputs.size() != outputs->size()) {
    refuse(c10::str("has ", description.outputs.size(), " outputs; the module's forward returns ", outputs->size()));
  }
  // A list of tensors is the strings of the only output, if that is BYTES, and otherwise all outputs.
  const bool all_strings = !outputs && description.outputs.size() == 1 && description.outputs[0].dtype == kBytes;
  for (size_t i = 0; i < description.outputs.size(); ++i) {
    const auto type = outputs       ? outputs->at(i)
                      : all_strings ? c10::TypePtr(c10::ListType::ofTensors())
                                    : c10::TypePtr(c10::TensorType::get());
    match(description.outputs[i], type, "output");
  }
  return description;
}

}  // namespace trtserve::torchscript
