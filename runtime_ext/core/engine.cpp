#include "core/engine.h"

#include <algorithm>
#include <future>

#include "core/device_health.h"
#include "core/error.h"

namespace trtserve {

namespace {

using Replicas = std::vector<std::unique_ptr<Replica>>;

std::string label_of(EngineId id, const std::string& name) {
  return name.empty() ? c10::str("engine ", id) : c10::str("engine ", id, " (", name, ")");
}

void check_devices(const std::vector<std::string>& devices) {
  for (auto device = devices.begin(); device != devices.end(); ++device) {
    if (std::find(devices.begin(), device, *device) != device) {
      fail(Kind::InvalidInput, "device names ", *device, " twice; an engine has one replica on each device");
    }
  }
}

bool is_on_cpu(const std::vector<std::string>& devices) {
  return std::all_of(devices.begin(), devices.end(), [](const auto& device) { return device == "cpu"; });
}

Replicas load_on(const std::vector<std::string>& devices, Backend& backend, const std::string& plan_path,
                 const LoadOptions& options, const std::string& label) {
  const auto load = [&](const std::string& device) {
    LoadOptions on_device = options;
    on_device.device = device;
    return std::make_unique<Replica>(backend.load(plan_path, on_device), label);
  };
  std::vector<std::future<std::unique_ptr<Replica>>> others;  // their destructors wait
  for (size_t i = 1; i < devices.size(); ++i) {
    others.push_back(std::async(std::launch::async, load, devices[i]));
  }
  Replicas replicas;
  replicas.reserve(devices.size());
  replicas.push_back(load(devices.front()));
  for (auto& other : others) replicas.push_back(other.get());
  return replicas;
}

Replicas load_replicas(Backend& backend, const std::string& plan_path, const LoadOptions& options,
                       const std::string& label) {
  auto devices = backend.devices(options.device);
  check_devices(devices);
  while (true) {
    try {
      return load_on(devices, backend, plan_path, options, label);
    } catch (...) {
      // A device may have died meanwhile: the others are enough.
      auto live = backend.devices(options.device);
      if (live.size() >= devices.size()) throw;
      devices = std::move(live);
    }
  }
}

}  // namespace

// Not an initializer of a member: the turn of its measurement ends with the load.
Engine::Engine(EngineId id, std::string backend_name, const std::shared_ptr<Backend>& backend,
               const std::string& plan_path, const LoadOptions& options)
    : Engine(id, std::move(backend_name), backend, plan_path, options,
             HeapGrowth(is_on_cpu(backend->devices(options.device)))) {}

Engine::Engine(EngineId id, std::string backend_name, std::shared_ptr<Backend> backend, const std::string& plan_path,
               LoadOptions options, const HeapGrowth& growth)
    : id_(id),
      backend_name_(std::move(backend_name)),
      options_(std::move(options)),
      backend_(std::move(backend)),
      replicas_(load_replicas(*backend_, plan_path, options_, label_of(id_, options_.name))),
      properties_(first().properties()),
      heap_grown_(growth.bytes()) {
  farewell_.heap = heap_grown_;
}

Replica& Engine::replica_for(at::Device device) const {
  Replica* live = nullptr;
  for (const auto& replica : replicas_) {
    if (replica->device() == device) return *replica;
    if (live == nullptr && is_alive(replica->device())) live = replica.get();
  }
  return live == nullptr ? *replicas_.front() : *live;
}

size_t Engine::instances() const {
  size_t instances = 0;
  for (const auto& replica : replicas_) instances += replica->instances();
  return instances;
}

size_t Engine::leased() const {
  size_t leased = 0;
  for (const auto& replica : replicas_) leased += replica->contexts().leased();
  return leased;
}

std::vector<EngineId> Engine::uses() const {
  auto ids = first().uses();
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

std::map<std::string, int64_t> Engine::counters() const {
  std::map<std::string, int64_t> sums;
  for (const auto& replica : replicas_) {
    for (const auto& [name, count] : replica->backend_engine().counters()) sums[name] += count;
  }
  return sums;
}

Memory Engine::memory() const {
  Memory memory;
  for (const auto& replica : replicas_) {
    auto& known = memory[replica->device().str()];
    known = replica->backend_engine().memory();
    if (!replica->device().is_cpu()) {
      memory["cpu"]["host"] = heap_grown_;
      if (const int64_t staging = replica->staging(); staging > 0) memory["cpu"]["staging"] += staging;
    } else if (known.empty()) {
      const int64_t contexts = std::min(heap_grown_, replica->heap_for_contexts());
      known = {{"weights", heap_grown_ - contexts}, {"contexts", contexts}};
    }
  }
  return memory;
}

void Engine::count_calls(std::weak_ptr<CallCounter> counter) {
  call_counter_ = std::move(counter);
  counts_calls_.store(true, std::memory_order_release);
}

std::shared_ptr<CallCounter> Engine::call_counter() const {
  return counts_calls_.load(std::memory_order_acquire) ? call_counter_.lock() : nullptr;
}

std::string Engine::label() const { return label_of(id_, name()); }

void Engine::interrupt(std::thread::id thread) {
  for (const auto& replica : replicas_) replica->contexts().interrupt(thread);
}

bool Engine::close(Clock& clock, TimePoint deadline) {
  bool ended = true;
  for (const auto& replica : replicas_) ended = replica->contexts().close(clock, deadline) && ended;
  return ended;
}

void Engine::synchronize() {
  for (const auto& replica : replicas_) replica->contexts().synchronize();
}

}  // namespace trtserve
