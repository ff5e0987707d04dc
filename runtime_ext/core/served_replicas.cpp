#include "core/served_replicas.h"

#include "core/device_health.h"

namespace trtserve {

namespace {

std::vector<std::unique_ptr<DeviceStream>> streams_of(Replica& replica) {
  std::vector<std::unique_ptr<DeviceStream>> streams;
  for (size_t i = 0; i < replica.instances(); ++i) streams.push_back(replica.create_stream());
  return streams;
}

}  // namespace

ServedReplica::ServedReplica(Replica& of_engine, const DevicePart& part, size_t first_instance)
    : replica(of_engine),
      member(part.share, replica.instances()),
      first(first_instance),
      streams(streams_of(replica)),
      workers(replica.backend_engine().needs_own_threads() ? std::make_shared<Workers>(part.clock, replica.instances())
                                                           : part.workers) {
  workers->prepare();
}

ServedReplicas::ServedReplicas(const Engine& engine, const std::vector<DevicePart>& parts) {
  size_t first = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    auto& replica = *engine.replicas()[i];
    replicas_.push_back(std::make_unique<ServedReplica>(replica, parts[i], first));
    first += replica.instances();
  }
}

size_t ServedReplicas::instances() const {
  const auto& last = *replicas_.back();
  return last.first + last.replica.instances();
}

std::vector<InstancePlace> ServedReplicas::places() const {
  std::vector<InstancePlace> places;
  for (size_t i = 0; i < replicas_.size(); ++i) {
    places.insert(places.end(), replicas_[i]->replica.instances(), {i, &replicas_[i]->member});
  }
  return places;
}

size_t ServedReplicas::number_of(size_t instance) const {
  size_t number = replicas_.size() - 1;
  while (replicas_[number]->first > instance) --number;
  return number;
}

ServedReplica& ServedReplicas::on(at::Device device) const {
  for (const auto& replica : replicas_) {
    if (replica->device() == device) return *replica;
  }
  return *replicas_.front();
}

ServedReplica* ServedReplicas::live() const {
  for (const auto& replica : replicas_) {
    if (is_alive(replica->device())) return replica.get();
  }
  return nullptr;
}

bool ServedReplicas::can_move_from(at::Device device) const {
  return replicas_.size() > 1 && !is_alive(device) && live() != nullptr;
}

size_t ServedReplicas::asking() const {
  size_t asking = 0;
  for (const auto& replica : replicas_) asking += replica->member.asking();
  return asking;
}

void ServedReplicas::stop() {
  for (const auto& replica : replicas_) {
    if (replica->replica.backend_engine().needs_own_threads()) replica->workers->close();
    replica->member.leave();
  }
}

}  // namespace trtserve
