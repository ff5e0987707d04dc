#pragma once

#include <memory>
#include <vector>

#include "core/device_lane.h"
#include "core/device_share.h"
#include "core/engine.h"
#include "core/request_queue.h"
#include "core/workers.h"

namespace trtserve {

/// What the engines of one device share.
struct DevicePart {
  std::shared_ptr<DeviceShare> share;
  std::shared_ptr<Workers> workers;
  std::shared_ptr<Clock> clock;
};

/// What an engine has on one of its devices while it is served.
struct ServedReplica {
  ServedReplica(Replica& of_engine, const DevicePart& part, size_t first_instance);

  at::Device device() const { return replica.device(); }

  Replica& replica;
  DeviceShare::Member member;
  const size_t first;                                        ///< the number of its first instance in the engine
  const std::vector<std::unique_ptr<DeviceStream>> streams;  ///< one for each instance; null on the CPU
  const std::shared_ptr<Workers> workers;                    ///< the device's, or the replica's own
};

/// A path to a replica's device for requests of another, whose device has died. Belongs to the thread that creates it.
struct Refuge {
  explicit Refuge(ServedReplica& replica)
      : stream(replica.replica.create_stream()), lane(replica.device(), stream.get()) {}

  const std::unique_ptr<DeviceStream> stream;
  DeviceLane lane;
};

/// The replicas of a served engine, whose instances are numbered through. Thread safe, and immutable but for what the
/// devices share.
class ServedReplicas {
 public:
  /// `parts`: of each replica's device. std::system_error if there is no thread for an instance.
  ServedReplicas(const Engine& engine, const std::vector<DevicePart>& parts);

  size_t size() const { return replicas_.size(); }
  size_t instances() const;
  ServedReplica& operator[](size_t number) const { return *replicas_[number]; }

  /// Where each instance works.
  std::vector<InstancePlace> places() const;

  /// The number of the replica that an instance belongs to.
  size_t number_of(size_t instance) const;

  /// The replica on the device, which is one of the engine's.
  ServedReplica& on(at::Device device) const;

  /// The first replica whose device is alive; null if there is none.
  ServedReplica* live() const;

  /// True if the device has died, and requests can run on another.
  bool can_move_from(at::Device device) const;

  /// The number of instances that wait for a turn.
  size_t asking() const;

  /// Gives up threads and turns. Call it once every instance has given up its thread or been left behind.
  void stop();

 private:
  std::vector<std::unique_ptr<ServedReplica>> replicas_;  // at least one
};

}  // namespace trtserve
