#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/backend.h"
#include "core/memory.h"
#include "core/replica.h"

namespace trtserve {

class CallCounter;

/// The first 52 bits of the plan's SHA-256: exact in JSON, in JavaScript and as a constant in a graph.
using EngineId = int64_t;

/// An engine's place in the manager and the scheduler is its ID, by which everybody finds it. While it serves there,
/// its next life can be loaded in the place beside it, where nobody finds it: see Runtime::exchange. Engine::id() is
/// the same in both places.
inline constexpr EngineId kBeside = EngineId{1} << 52;  // no ID has this bit
constexpr EngineId beside(EngineId id) { return id | kBeside; }
constexpr EngineId id_of_place(EngineId place) { return place & ~kBeside; }
constexpr bool is_beside(EngineId place) { return place != id_of_place(place); }

/// A plan, deserialized and resident: a replica on each of its devices. Immutable once it is loaded, but for what it
/// keeps, and thread safe.
class Engine {
 public:
  /// Deserializes the plan with `backend`, registered as `backend_name`, on each device that the options name and that
  /// is alive; on all of them at the same time. Engines on the CPU are loaded one at a time: see HeapGrowth.
  Engine(EngineId id, std::string backend_name, const std::shared_ptr<Backend>& backend, const std::string& plan_path,
         const LoadOptions& options);

  EngineId id() const { return id_; }
  const std::string& name() const { return options_.name; }
  const std::string& backend() const { return backend_name_; }
  const LoadOptions& options() const { return options_; }
  const std::vector<TensorSpec>& inputs() const { return first().inputs(); }
  const std::vector<TensorSpec>& outputs() const { return first().outputs(); }

  /// At least one, in the order in which the options name their devices.
  const std::vector<std::unique_ptr<Replica>>& replicas() const { return replicas_; }

  /// The first replica as its backend sees it: for facts that are the same on every device.
  const BackendEngine& first() const { return replicas_.front()->backend_engine(); }

  /// The replica that serves a caller whose tensors are on `device`: the one there; otherwise the first whose device
  /// is alive, or the first if none is.
  Replica& replica_for(at::Device device) const;

  /// The number of instances on all devices.
  size_t instances() const;

  /// The backend's properties, read once after the load, because asking the backend may wait for an execution.
  const std::map<std::string, std::string>& properties() const { return properties_; }

  /// The number of contexts that are in use, on all devices.
  size_t leased() const;

  /// The backend's counters, added up over the devices.
  std::map<std::string, int64_t> counters() const;

  /// The memory that it takes now, contexts included; see MemoryByKind. What its backend counts is exact; what the heap
  /// grew by while it was loaded is an estimate.
  Memory memory() const;

  /// IDs of the engines that its executions call, ascending.
  std::vector<EngineId> uses() const;

  /// Keeps the engines that it uses for as long as it exists, or until the next call. The manager calls it with its
  /// lock held.
  void keep(std::vector<std::shared_ptr<Engine>> used) { used_ = std::move(used); }
  const std::vector<std::shared_ptr<Engine>>& kept() const { return used_; }

  /// Counts its calls from now on, as long as it exists. Called once at most.
  void count_calls(std::weak_ptr<CallCounter> counter);
  /// Null if nobody counts them.
  std::shared_ptr<CallCounter> call_counter() const;

  /// Tells when its memory is free, whoever held it last.
  std::shared_ptr<Gone> gone() const { return farewell_.gone; }

  /// "engine 123 (LeNet)", for messages.
  std::string label() const;

  /// Interrupts the execution in the context that `thread` has leased, if any.
  void interrupt(std::thread::id thread);

  /// Refuses new leases of contexts, and blocks until every lease has ended. Returns false if some last beyond
  /// `deadline`: see ContextPool::close().
  bool close(Clock& clock, TimePoint deadline);

  /// Blocks until the work of all contexts is complete. Call it once every lease has ended.
  void synchronize();

 private:
  struct Farewell {
    std::shared_ptr<Gone> gone = std::make_shared<Gone>();
    int64_t heap = 0;  // bytes that are free again
    Farewell() = default;
    ~Farewell() {
      HeapGrowth::released(heap);
      gone->tell();
    }
    Farewell(const Farewell&) = delete;
    Farewell& operator=(const Farewell&) = delete;
  };

  Engine(EngineId id, std::string backend_name, std::shared_ptr<Backend> backend, const std::string& plan_path,
         LoadOptions options, const HeapGrowth& growth);

  Farewell farewell_;  // first, so that it is destroyed last
  const EngineId id_;
  const std::string backend_name_;
  const LoadOptions options_;
  std::vector<std::shared_ptr<Engine>> used_;  // guarded by the manager's lock; before the replicas, which call them
  std::weak_ptr<CallCounter> call_counter_;    // written once, before counts_calls_ is set
  std::atomic<bool> counts_calls_{false};
  // The order matters: replicas are destroyed before their backend. An engine in use may hold the last reference to it.
  const std::shared_ptr<Backend> backend_;
  const std::vector<std::unique_ptr<Replica>> replicas_;
  const std::map<std::string, std::string> properties_;
  const int64_t heap_grown_;  // bytes, by the load
};

}  // namespace trtserve
