#include "backends/torchscript/source.h"

#include <algorithm>

#include <torch/csrc/jit/frontend/lexer.h>
#include <torch/csrc/jit/frontend/parser.h>
#include <torch/csrc/jit/frontend/tree_views.h>

#include "core/error.h"

namespace trtserve::torchscript {

using torch::jit::TreeRef;

namespace {

/// Nested deeper, a source could exhaust the stack of whoever walks it.
constexpr int kDepth = 200;

bool is_literal(const TreeRef& tree, int depth) {
  if (depth > kDepth) return false;
  switch (tree->kind()) {
    case torch::jit::TK_CONST:
    case torch::jit::TK_STRINGLITERAL:
    case torch::jit::TK_TRUE:
    case torch::jit::TK_FALSE:
    case torch::jit::TK_NONE:
      return true;
    case torch::jit::TK_UNARY_MINUS:
    case torch::jit::TK_LIST_LITERAL:
    case torch::jit::TK_TUPLE_LITERAL:
    case torch::jit::TK_DICT_LITERAL:
    case torch::jit::TK_LIST:
      return std::all_of(tree->trees().begin(), tree->trees().end(),
                         [&](const TreeRef& child) { return is_literal(child, depth + 1); });
    default:
      return false;
  }
}

[[noreturn]] void refuse_value(const std::string& file, const TreeRef& tree, const std::string& of) {
  fail(Kind::InvalidInput, "the module's ", file, " computes ", of, " (", tree->range().text().str(),
       "): only literals are allowed there, because they are evaluated while the module is loaded");
}

void check_default(const std::string& file, const torch::jit::Param& param) {
  const auto value = param.defaultValue();
  if (value.present() && !is_literal(value.get().tree(), 0)) {
    refuse_value(file, value.get().tree(), "the default of the argument " + param.ident().name());
  }
}

void check_method(const std::string& file, const TreeRef& tree) {
  const auto name = torch::jit::Def(tree).name().name();
  if (name != "__setstate__" && name != "__getstate__") return;
  fail(Kind::InvalidInput, "the module's ", file, " defines ", name,
       ": code that runs while a module is loaded is not allowed");
}

/// `ops.trt.execute_engine`, as torch.jit.save writes it, or with `torch.` before.
bool is_variadic(const torch::jit::Select& select) {
  if (select.selector().name() != "execute_engine" || select.value().kind() != '.') return false;
  const torch::jit::Select space(select.value());
  if (space.selector().name() != "trt") return false;
  if (space.value().kind() == '.') return torch::jit::Select(space.value()).selector().name() == "ops";
  return space.value().kind() == torch::jit::TK_VAR && torch::jit::Var(space.value()).name().name() == "ops";
}

/// Refused here, because torch's own refusal of such a call does not say what to do.
void check_select(const std::string& file, const TreeRef& tree) {
  if (!is_variadic(torch::jit::Select(tree))) return;
  fail(Kind::InvalidInput, "the module's ", file,
       " calls trt::execute_engine: it takes any number of arguments, so a call of it that comes from a file does not "
       "type-check. Call torch.ops.trt.execute_engine_list(id, [tensors]) instead");
}

void check_tree(const std::string& file, const TreeRef& tree, int depth) {
  if (depth > kDepth) fail(Kind::InvalidInput, "the module's ", file, " is nested too deeply");
  if (tree->kind() == torch::jit::TK_DEF) check_method(file, tree);
  if (tree->kind() == '.') check_select(file, tree);
  if (tree->kind() == torch::jit::TK_PARAM) check_default(file, torch::jit::Param(tree));
  for (const auto& child : tree->trees()) check_tree(file, child, depth + 1);
}

void check_class(const std::string& file, const torch::jit::ClassDef& definition) {
  for (const auto& statement : definition.body()) {
    if (statement.kind() != torch::jit::TK_ASSIGN) continue;
    const auto right = torch::jit::Assign(statement).rhs();
    // Types of attributes are not evaluated: `__annotations__["0"] = Tensor`.
    const auto left = torch::jit::Assign(statement).lhs();
    const bool is_type = left.kind() == torch::jit::TK_SUBSCRIPT;
    if (right.present() && !is_type && !is_literal(right.get().tree(), 0)) {
      refuse_value(file, right.get().tree(), "a value of the class " + definition.name().name());
    }
  }
}

}  // namespace

void check_source(const std::string& file, const std::shared_ptr<torch::jit::Source>& source) {
  torch::jit::Parser parser(source);
  auto& lexer = parser.lexer();
  while (lexer.cur().kind == torch::jit::TK_IDENT || lexer.cur().kind == torch::jit::TK_IMPORT) {
    // `op_version_set = 1`, and imports of other sources, which are checked when they are read.
    while (lexer.cur().kind != torch::jit::TK_NEWLINE && lexer.cur().kind != torch::jit::TK_EOF) lexer.next();
    lexer.nextIf(torch::jit::TK_NEWLINE);
  }
  while (lexer.cur().kind != torch::jit::TK_EOF) {
    if (lexer.cur().kind == torch::jit::TK_CLASS_DEF) {
      const auto tree = parser.parseClass();
      check_class(file, torch::jit::ClassDef(tree));
      check_tree(file, tree, 0);
    } else if (lexer.cur().kind == torch::jit::TK_DEF) {
      check_tree(file, parser.parseFunction(/*is_method=*/false), 0);
    } else {
      fail(Kind::InvalidInput, "the module's ", file,
           " has something other than functions and classes: ", lexer.cur().text());
    }
  }
}

}  // namespace trtserve::torchscript
