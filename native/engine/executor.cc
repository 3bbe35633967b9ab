#include "engine/executor.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <utility>

#include "engine/counters.h"

namespace segsam {

namespace {

struct Registry {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<Executor>> executors;
};

/// Never destroyed: threads may outlive static objects when the process exits.
Registry& registry() {
  static auto* instance = new Registry;
  return *instance;
}

}  // namespace

std::shared_ptr<Executor> Executor::of(const std::string& device) {
  const std::lock_guard lock(registry().mutex);
  auto& executor = registry().executors[device];
  if (!executor) executor = std::make_shared<Executor>();
  return executor;
}

Executor::~Executor() { stop(); }

void Executor::submit(std::shared_ptr<Task> task) {
  const std::lock_guard lock(mutex_);
  if (stopping_) return;
  if (!thread_.joinable()) thread_ = std::thread(&Executor::loop, this);
  queue_.push_back(std::move(task));
  ++counters().queued;
  changed_.notify_all();
}

bool Executor::drop(const Task& task) {
  // The task may be destroyed with its last reference, which must not happen under the lock.
  std::shared_ptr<Task> dropped;
  const std::lock_guard lock(mutex_);
  const auto found =
      std::find_if(queue_.begin(), queue_.end(), [&](const auto& queued) { return queued.get() == &task; });
  if (found == queue_.end()) return false;
  dropped = std::move(*found);
  queue_.erase(found);
  --counters().queued;
  changed_.notify_all();
  return true;
}

void Executor::wait(const Task& task) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    return running_ != &task &&
           std::none_of(queue_.begin(), queue_.end(), [&](const auto& queued) { return queued.get() == &task; });
  });
}

void Executor::loop() {
  bool first = true;
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    std::shared_ptr<Task> task = std::move(queue_.front());
    queue_.pop_front();
    --counters().queued;
    running_ = task.get();
    lock.unlock();
    task->run();
    // exit() runs handlers in the reverse order of their registration. Registered after a first task, this one runs
    // before those of the objects that libtorch made during that task, so that no task computes while they are
    // destroyed.
    if (std::exchange(first, false)) std::atexit(&Executor::stopAll);
    lock.lock();
    running_ = nullptr;
    changed_.notify_all();
    lock.unlock();
    task.reset();
    lock.lock();
  }
}

void Executor::stop() {
  std::deque<std::shared_ptr<Task>> dropped;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    counters().queued -= static_cast<int64_t>(queue_.size());
    dropped.swap(queue_);
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void Executor::stopAll() {
  std::map<std::string, std::shared_ptr<Executor>> executors;
  {
    const std::lock_guard lock(registry().mutex);
    executors = registry().executors;
  }
  for (auto& [device, executor] : executors) executor->stop();
}

}  // namespace segsam
