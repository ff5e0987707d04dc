#include "backends/tensorrt/graph_policy.h"

#include "core/error.h"
#include "core/log.h"

namespace trtserve::tensorrt {

GraphMode parse_graph_mode(const std::string& word) {
  if (word == "off") return GraphMode::Off;
  if (word == "auto") return GraphMode::Auto;
  if (word == "on") return GraphMode::On;
  fail(Kind::InvalidInput, "cuda_graphs is '", word, "'; allowed are off, auto and on");
}

GraphPolicy::GraphPolicy(GraphMode mode, Counters& counters)
    : mode_(mode), counters_(counters), enabled_(mode != GraphMode::Off) {}

void GraphPolicy::disable(const std::string& engine, const std::string& reason) {
  if (!enabled_.exchange(false)) return;
  counters_.cuda_graphs_disabled = 1;
  log(Severity::Warning, "tensorrt", c10::str("CUDA graphs are off for ", engine, ": ", reason));
}

}  // namespace trtserve::tensorrt
