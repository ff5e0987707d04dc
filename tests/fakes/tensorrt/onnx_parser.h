#pragma once

#include <new>

#include <NvOnnxParser.h>

#include "build_state.h"
#include "network.h"

namespace trtserve::fake::trt {

/// The API's error of a parser.
class ParserError final : public nvonnxparser::IParserError {
 public:
  ParserError(nvonnxparser::ErrorCode code, std::string description, int number = -1, RefusedNode node = {})
      : code_(code), description_(std::move(description)), number_(number), node_(std::move(node)) {}

  nvonnxparser::ErrorCode code() const override { return code_; }
  char const* desc() const override { return description_.c_str(); }
  int node() const override { return number_; }
  char const* nodeName() const override { return node_.name.c_str(); }
  char const* nodeOperator() const override { return node_.operation.c_str(); }

 private:
  const nvonnxparser::ErrorCode code_;
  const std::string description_;
  const int number_;
  const RefusedNode node_;
};

/// The state of an IParser.
struct ParserState {
  explicit ParserState(std::shared_ptr<NetworkState> of) : network(std::move(of)) { ++network->parsers; }
  ~ParserState() { --network->parsers; }
  ParserState(const ParserState&) = delete;
  ParserState& operator=(const ParserState&) = delete;

  const char* gone_ancestor() const { return network->destroyed ? "network" : nullptr; }

  const std::shared_ptr<NetworkState> network;
  std::vector<std::unique_ptr<ParserError>> errors;
  std::vector<std::string> unknown;  // operators
  Live live{"parser"};
};

/// The API's parser, for toy models.
class Parser final : public nvonnxparser::IParser {
 public:
  Parser(Network& network, std::shared_ptr<ParserState> state)
      : network_(network), object_("parser", std::move(state)) {}
  ~Parser() override = default;
  static void operator delete(Parser* self, std::destroying_delete_t);

  bool parse(void const* model, size_t size, const char* path) noexcept override;
  bool supportsOperator(const char* operation) const noexcept override;
  int getNbErrors() const noexcept override;
  nvonnxparser::IParserError const* getError(int index) const noexcept override;

 private:
  Network& network_;
  mutable Owned<ParserState> object_;
};

}  // namespace trtserve::fake::trt
