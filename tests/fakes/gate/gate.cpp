#include "gate.h"

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>

namespace trtserve::toy {

namespace {

struct Gate {
  bool open = false;
  int arrivals = 0;
  int let_through = 0;  // so many of the first arrivals
};

std::mutex mutex;
std::condition_variable changed;
std::map<std::string, Gate> gates;  // guarded by mutex

}  // namespace

void pass_gate(const std::string& name) {
  std::unique_lock lock(mutex);
  auto& gate = gates[name];
  const int number = ++gate.arrivals;
  changed.notify_all();
  changed.wait(lock, [&] { return gate.open || number <= gate.let_through; });
}

}  // namespace trtserve::toy

void toy_gate_open(const char* name) {
  const std::lock_guard lock(trtserve::toy::mutex);
  trtserve::toy::gates[name].open = true;
  trtserve::toy::changed.notify_all();
}

void toy_gate_let_through(const char* name, int count) {
  const std::lock_guard lock(trtserve::toy::mutex);
  trtserve::toy::gates[name].let_through += count;
  trtserve::toy::changed.notify_all();
}

int toy_gate_await(const char* name, int count) {
  std::unique_lock lock(trtserve::toy::mutex);
  auto& gate = trtserve::toy::gates[name];
  return trtserve::toy::changed.wait_for(lock, std::chrono::minutes(1), [&] { return gate.arrivals >= count; }) ? 1 : 0;
}
