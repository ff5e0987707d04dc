#pragma once

// The options that an engine is loaded with. To add one, add a member and its line in fields():
// the bindings need nothing else.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace trtserve {

/// How the requests of an engine are joined into batches. The names are those of Triton's dynamic batcher.
struct BatchOptions {
  int64_t max_batch_size = 1;                  ///< the most items in a batch; 1: each request runs alone
  int64_t max_queue_delay_us = 0;              ///< how long a request may wait for others; kAutoDelay: adaptive
  int64_t latency_target_us = 10'000;          ///< the latency that the adaptive delay must keep to
  std::vector<int64_t> preferred_batch_sizes;  ///< sizes that run without waiting; empty: only the maximum
  std::map<std::string, int64_t> batch_dims;   ///< the batch dimension of each tensor; 0 where not named
  static constexpr int64_t kAutoDelay = -1;

  /// Calls `field(name, member)` for each option.
  template <typename Field>
  static void fields(Field field) {
    field("max_batch_size", &BatchOptions::max_batch_size);
    field("max_queue_delay_us", &BatchOptions::max_queue_delay_us);
    field("latency_target_us", &BatchOptions::latency_target_us);
    field("preferred_batch_sizes", &BatchOptions::preferred_batch_sizes);
    field("batch_dims", &BatchOptions::batch_dims);
  }
};

struct LoadOptions {
  std::string name;                        ///< the user's name for the engine; empty: unnamed
  std::string device = "auto";             ///< auto, all, cpu, cuda, cuda:N, or several with commas between them
  int instances = 0;                       ///< on each device; 0: the backend chooses
  int64_t max_queue_size = 256;            ///< requests that may wait
  std::string precision = "f32";           ///< inference precision: f32, f16 or bf16
  int threads = 0;                         ///< CPU threads of all instances together; 0: one per core
  std::string cuda_graphs = "auto";        ///< off, auto or on; only for backends that run on CUDA
  std::string compiled;                    ///< a file of BackendEngine::write_compiled() to load from; may be missing
  std::map<std::string, int64_t> engines;  ///< the IDs of the engines that a module calls by name
  std::string tensors;  ///< JSON that describes a module's inputs and outputs; empty: the one in its archive
  BatchOptions batch;   ///< how requests are joined; used by the core, not by the backend

  /// Calls `field(name, member)` for each option except those of `batch`, which has its own list.
  template <typename Field>
  static void fields(Field field) {
    field("name", &LoadOptions::name);
    field("device", &LoadOptions::device);
    field("instances", &LoadOptions::instances);
    field("max_queue_size", &LoadOptions::max_queue_size);
    field("precision", &LoadOptions::precision);
    field("threads", &LoadOptions::threads);
    field("cuda_graphs", &LoadOptions::cuda_graphs);
    field("compiled", &LoadOptions::compiled);
    field("engines", &LoadOptions::engines);
    field("tensors", &LoadOptions::tensors);
  }
};

}  // namespace trtserve
