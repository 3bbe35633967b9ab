#include "engine/executor.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <numeric>
#include <string>
#include <utility>

#include "engine/counters.h"
#include "engine/device.h"
#include "engine/recycled_memory.h"
#include "engine/team.h"
#include "engine/thread_priority.h"
#include "error.h"

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

/// Of a GPU: one computes while what the other needs is moved.
constexpr int kStreams = 2;

double millisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

template <class Body>
std::optional<Failure> failureOf(const Body& body) noexcept {
  try {
    body();
    return std::nullopt;
  } catch (...) {
    return describeCurrentException();
  }
}

}  // namespace

std::shared_ptr<Executor> Executor::of(const std::string& device) {
  const std::lock_guard lock(registry().mutex);
  auto& executor = registry().executors[device];
  if (!executor) {
    const at::Device place(device);
    executor = std::make_shared<Executor>(place, place.is_cpu() ? cores() : kStreams);
  }
  return executor;
}

Executor::~Executor() { stop(); }

void Executor::submit(std::shared_ptr<Task> task) {
  const std::lock_guard lock(mutex_);
  if (stopping_) return;
  const Schedule& schedule = task->schedule_;
  const size_t useful = std::min<size_t>(cores_, passes_ + waiting() + 1);
  if (threads_.size() < useful) threads_.emplace_back(&Executor::loop, this, /*isMain=*/threads_.empty());
  if (schedule.traffic) schedule.traffic->enter(schedule.lane, schedule.limited);
  task->submitted_ = Clock::now();
  queueOf(*task).push_back(std::move(task));
  ++counters().queued;
  changed_.notify_all();
}

bool Executor::drop(const Task& task, Outcome outcome) {
  // The task may be destroyed with its last reference, which must not happen under the lock.
  std::shared_ptr<Task> dropped;
  const std::lock_guard lock(mutex_);
  Queue& queue = queueOf(task);
  const auto found =
      std::find_if(queue.begin(), queue.end(), [&](const auto& queued) { return queued.get() == &task; });
  if (found == queue.end()) return false;
  dropped = std::move(*found);
  queue.erase(found);
  --counters().queued;
  if (task.schedule_.traffic) task.schedule_.traffic->leave(task.schedule_.lane, outcome);
  changed_.notify_all();
  return true;
}

void Executor::wait(const Task& task) {
  const auto isTask = [&](const auto& known) { return known.get() == &task; };
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    const Queue& queue = queueOf(task);
    return std::none_of(running_.begin(), running_.end(), isTask) && std::none_of(queue.begin(), queue.end(), isTask);
  });
}

size_t Executor::waiting() const {
  return std::accumulate(lanes_.begin(), lanes_.end(), size_t{0},
                         [](size_t sum, const Queue& queue) { return sum + queue.size(); });
}

bool Executor::mayTake(bool isMain) const { return waiting() > 0 && (isMain || (mainComputes_ && freeCores_ > 0)); }

int Executor::coresOfMain() const {
  if (!device_.is_cpu()) return 1;
  const auto others = static_cast<int>(std::min<size_t>(cores_, waiting()));
  if (2 * (passes_ + 1 + others) < cores_) return freeCores_;
  return std::max(1, freeCores_ - others);
}

Executor::Tasks Executor::takeExpired() {
  const Clock::time_point now = Clock::now();
  Tasks expired;
  for (Queue& queue : lanes_) {
    const auto end = std::stable_partition(queue.begin(), queue.end(), [&](const auto& task) {
      return !task->schedule_.deadline || *task->schedule_.deadline > now;
    });
    std::move(end, queue.end(), std::back_inserter(expired));
    queue.erase(end, queue.end());
  }
  for (const auto& task : expired) {
    const Schedule& schedule = task->schedule_;
    if (schedule.traffic) schedule.traffic->leave(schedule.lane, Outcome::kExpired);
  }
  return expired;
}

Executor::Queue::iterator Executor::nextOf(Lane lane) {
  Queue& queue = queueOf(lane);
  Overtaken& overtaken = overtaken_[static_cast<int>(lane)];
  const auto isOther = [](const auto& task) {
    return task->schedule_.kind != WorkKind::kEncode || !task->schedule_.traffic;
  };
  if (isOther(queue.front())) return queue.begin();
  if (overtaken.encode != queue.front().get()) overtaken = {queue.front().get(), 0};
  const auto other =
      overtaken.runs < kRunsBeforeEncode ? std::find_if(queue.begin(), queue.end(), isOther) : queue.end();
  if (other == queue.end()) return queue.begin();
  ++overtaken.runs;
  return other;
}

Executor::Tasks Executor::takeNext() {
  const Queue& interactive = queueOf(Lane::kInteractive);
  const Queue& batch = queueOf(Lane::kBatch);
  const bool isBatchTurn = interactive.empty() || (!batch.empty() && interactiveRuns_ >= kInteractiveRuns);
  interactiveRuns_ = isBatchTurn || batch.empty() ? 0 : interactiveRuns_ + 1;

  const Lane lane = isBatchTurn ? Lane::kBatch : Lane::kInteractive;
  Queue& queue = queueOf(lane);
  const auto next = nextOf(lane);
  Tasks tasks = {std::move(*next)};
  queue.erase(next);
  const Work& first = *tasks[0]->work_;
  int64_t items = first.items();
  for (auto candidate = queue.begin(); candidate != queue.end();) {
    const Work& other = *(*candidate)->work_;
    if (first.joins(other, items + other.items())) {
      items += other.items();
      tasks.push_back(std::move(*candidate));
      candidate = queue.erase(candidate);
    } else {
      ++candidate;
    }
  }
  for (const auto& task : tasks) {
    const Schedule& schedule = task->schedule_;
    if (schedule.traffic) schedule.traffic->start(schedule.lane, schedule.kind, millisecondsSince(task->submitted_));
  }
  return tasks;
}

void Executor::run(const Tasks& tasks) noexcept {
  const Clock::time_point started = Clock::now();
  int64_t items = 0;
  std::vector<Work*> others;
  for (const auto& task : tasks) {
    items += task->work_->items();
    if (task != tasks[0]) others.push_back(task->work_.get());
  }
  const std::optional<Failure> failure = failureOf([&] { tasks[0]->work_->runWith(others); });
  // What one of them did wrong, or the memory that all of them take, is no failure of the others.
  if (failure && tasks.size() > 1) {
    for (const auto& task : tasks) run({task});
    return;
  }
  const Schedule& schedule = tasks[0]->schedule_;
  if (schedule.traffic) {
    schedule.traffic->ran(schedule.kind, static_cast<int64_t>(tasks.size()), items, millisecondsSince(started));
  }
  for (const auto& task : tasks) {
    if (task->schedule_.traffic) task->schedule_.traffic->end(failure ? Outcome::kFailed : Outcome::kDone);
    task->end(failure);
  }
}

void Executor::waitForTask(std::unique_lock<std::mutex>& lock, bool isMain) {
  const auto ready = [&] { return stopping_ || mayTake(isMain); };
  // Memory comes back without a task, too: scenes and models are disposed of.
  while (isMain && !changed_.wait_for(lock, idle_, ready)) {
    lock.unlock();
    releaseRecycledMemory();
    lock.lock();
  }
  changed_.wait(lock, ready);
}

void Executor::loop(bool isMain) {
  applyNiceness();
  // Those of a GPU do little but wait for it.
  if (device_.is_cpu()) preemptNobody();
  // A device that fails does so again in the first task, which tells it.
  failureOf([&] { useOwnStream(device_); });
  Team team;
  std::unique_lock lock(mutex_);
  for (;;) {
    waitForTask(lock, isMain);
    if (stopping_) return;
    Tasks tasks = takeExpired();
    const bool expired = !tasks.empty();
    if (!expired) tasks = takeNext();
    counters().queued -= static_cast<int64_t>(tasks.size());
    running_.insert(running_.end(), tasks.begin(), tasks.end());
    if (expired) {
      lock.unlock();
      for (const auto& task : tasks) task->end(Failure{kDeadlineExceeded, "The deadline passed before it started"});
      lock.lock();
    } else {
      const int taken = isMain ? coresOfMain() : 1;
      freeCores_ -= taken;
      ++passes_;
      if (isMain) mainComputes_ = true;
      changed_.notify_all();
      lock.unlock();
      if (device_.is_cpu() && cores_ > 1) {
        computeOn(taken);
        team.wake(taken);
      }
      run(tasks);
      lock.lock();
      freeCores_ += taken;
      --passes_;
      if (isMain) mainComputes_ = false;
    }
    for (const auto& task : tasks) running_.erase(std::find(running_.begin(), running_.end(), task));
    changed_.notify_all();
    lock.unlock();
    tasks.clear();
    lock.lock();
  }
}

void Executor::stop() {
  std::array<Queue, kLanes> dropped;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const Queue& queue : lanes_) counters().queued -= static_cast<int64_t>(queue.size());
    dropped.swap(lanes_);
    changed_.notify_all();
  }
  // None is added any more.
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
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
