#pragma once

#include <atomic>
#include <string>

#include "backends/tensorrt/counters.h"

namespace trtserve::tensorrt {

/// When an engine's executions are captured: never, for recurring shapes, or for every shape.
enum class GraphMode { Off, Auto, On };

/// Accepts off, auto and on; InvalidInput for any other word.
GraphMode parse_graph_mode(const std::string& word);

/// Decides for all instances of an engine whether it may still use graphs. Thread safe.
class GraphPolicy {
 public:
  GraphPolicy(GraphMode mode, Counters& counters);

  GraphMode mode() const { return mode_; }
  bool enabled() const { return enabled_; }

  /// Turns graphs off permanently; logs the first reason.
  void disable(const std::string& engine, const std::string& reason);

 private:
  const GraphMode mode_;
  Counters& counters_;
  std::atomic<bool> enabled_;
};

}  // namespace trtserve::tensorrt
