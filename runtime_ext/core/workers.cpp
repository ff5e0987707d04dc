#include "core/workers.h"

#include <dlfcn.h>
#include <pthread.h>

#include <system_error>
#include <utility>

#include <ATen/Parallel.h>

namespace trtserve {

namespace {

/// Makes torch's CPU operations on this thread run on it alone: otherwise each instance would get an OpenMP team of as
/// many threads as there are cores. at::set_num_threads() would limit the whole process.
void use_one_thread() {
  at::get_num_threads();  // torch sets the number when it is first asked for it, and would undo the next line
  // torch loads its own copy of the OpenMP library, under a name that no linker knows.
  using SetThreads = void (*)(int);
  if (const auto set_threads = reinterpret_cast<SetThreads>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"))) set_threads(1);
}

void settle_in() {
  pthread_setname_np(pthread_self(), "trt-instance");
  // A SCHED_BATCH thread does not preempt the thread that wakes it: on a shared core, the event loop first hands over
  // all requests that have arrived, and they run as one batch. Its share of the core does not change.
  const sched_param no_priority{};
  pthread_setschedparam(pthread_self(), SCHED_BATCH, &no_priority);
  use_one_thread();
}

}  // namespace

void Workers::prepare() {
  const std::lock_guard lock(mutex_);
  if (workers_.empty()) add();
}

void Workers::start(Job job) {
  const std::lock_guard lock(mutex_);
  if (!idle_.empty()) {
    const Place worker = idle_.back();
    idle_.pop_back();
    worker->job = std::move(job);
    worker->called.notify_one();  // with the lock: the worker may end as soon as it has seen the job
    return;
  }
  try {
    add()->job = std::move(job);
  } catch (const std::system_error&) {
    waiting_.push_back(std::move(job));
  }
}

/// Call with mutex_ held: the new thread waits for it. Throws std::system_error if the system has no more threads.
Workers::Place Workers::add() {
  const Place worker = workers_.emplace(workers_.end());
  try {
    worker->thread = std::thread([self = shared_from_this(), worker] { self->run(worker); });
  } catch (...) {
    workers_.erase(worker);
    throw;
  }
  return worker;
}

void Workers::run(Place self) {
  settle_in();
  std::unique_lock lock(mutex_);
  while (next(self, lock)) {
    auto job = std::exchange(self->job, std::nullopt);
    self->busy = true;
    lock.unlock();
    job->handler->serve(job->instance);
    job->handler.reset();
    lock.lock();
    // Under the lock: once an instance has ended, close() waits for its thread.
    self->busy = false;
    job->executions->instance_ended();
  }
  end(self, lock);
}

/// Waits for a job; false if the thread is to end. Call with mutex_ held.
bool Workers::next(Place self, std::unique_lock<std::mutex>& lock) {
  if (!self->job && !waiting_.empty()) {
    self->job = std::move(waiting_.front());
    waiting_.pop_front();
  }
  if (!self->job && !closed_) wait_for_job(self, lock);
  return self->job.has_value();
}

/// Returns with a job, once closed, or after kSpareFor with more idle threads than are kept. Call with mutex_ held.
void Workers::wait_for_job(Place self, std::unique_lock<std::mutex>& lock) {
  idle_.push_back(self);
  const TimePoint until = clock_->glance() + kSpareFor;
  while (!self->job && !closed_) {
    if (idle_.size() <= most_idle_) {
      self->called.wait(lock);  // as one of those that are kept: there are never more of them than may be
    } else if (clock_->glance() < until) {
      clock_->wait_until(lock, self->called, until);
    } else {
      std::erase(idle_, self);
      return;
    }
  }
}

/// Call with mutex_ held.
void Workers::end(Place self, std::unique_lock<std::mutex>& lock) {
  if (closed_) return;  // close() waits for this thread
  std::thread before = std::exchange(ended_, std::move(self->thread));
  workers_.erase(self);
  lock.unlock();
  if (before.joinable()) before.join();
}

void Workers::close() {
  std::thread ended;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    ended = std::move(ended_);
    for (auto& worker : workers_) {
      worker.called.notify_one();
      if (worker.busy && worker.thread.joinable()) worker.thread.detach();
    }
  }
  if (ended.joinable()) ended.join();
  for (auto& worker : workers_) {
    if (worker.thread.joinable()) worker.thread.join();
  }
}

}  // namespace trtserve
