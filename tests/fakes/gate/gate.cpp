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
  int let_through = 0;  // this many of the first arrivals
};

std::mutex mutex;
std::condition_variable changed;
std::map<std::string, Gate> gates;  // guarded by mutex

}  // namespace

bool pass_gate(const std::string& name, const std::atomic<bool>& interrupted) {
  std::unique_lock lock(mutex);
  auto& gate = gates[name];
  const int number = ++gate.arrivals;
  changed.notify_all();
  const auto may_pass = [&] { return gate.open || number <= gate.let_through; };
  changed.wait(lock, [&] { return may_pass() || interrupted; });
  return may_pass();
}

void pass_gate(const std::string& name) {
  static const std::atomic<bool> never{false};
  pass_gate(name, never);
}

void look_at_gates() {
  const std::lock_guard lock(mutex);
  changed.notify_all();
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
