#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/failure.h"
#include "engine/traffic.h"
#include "engine/work.h"

namespace segsam {

using Clock = std::chrono::steady_clock;

/// How a task waits.
struct Schedule {
  Lane lane = Lane::kInteractive;
  /// A task that has not started by then never does.
  std::optional<Clock::time_point> deadline;
  WorkKind kind = WorkKind::kEncode;
  /// Of the model that it is for; null: the task is neither limited nor counted.
  std::shared_ptr<Traffic> traffic;
  /// Whether the traffic's limit holds for it.
  bool limited = true;
};

/// A piece of work for an executor.
class Task {
 public:
  Task(std::shared_ptr<Work> work, Schedule schedule) : work_(std::move(work)), schedule_(std::move(schedule)) {}
  virtual ~Task() = default;

  /// On the executor's thread, once, when it has run or its deadline has passed. A task that was dropped does not end.
  virtual void end(const std::optional<Failure>& failure) noexcept = 0;

 protected:
  /// Read by the executor while the task waits or runs.
  std::shared_ptr<Work> work_;

 private:
  friend class Executor;
  Schedule schedule_;
  Clock::time_point submitted_;
};

/// The one thread that computes on a device, and its queue. All of the process shares it: libtorch keeps one pool of
/// OpenMP threads per calling thread, and CUDA wants thread affinity.
///
/// Interactive tasks go before those of the batch lane, but while one of these waits, every fifth run is theirs. Within
/// a lane the order is that of submission, except that a task takes along what waits in its lane and joins it.
class Executor {
 public:
  static constexpr int kInteractiveRuns = 4;

  /// The executor of the device named `device` (`cpu`, `cuda:0`, ...); its thread starts with the first task.
  static std::shared_ptr<Executor> of(const std::string& device);

  Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  ~Executor();

  /// @throws Error QUEUE_FULL
  void submit(std::shared_ptr<Task> task);

  /// Takes a task that has not started from the queue.
  /// @param outcome what it counts as
  /// @return whether it will never run
  bool drop(const Task& task, Outcome outcome = Outcome::kAborted);

  /// Returns once the task neither waits nor runs.
  void wait(const Task& task);

 private:
  using Tasks = std::vector<std::shared_ptr<Task>>;
  using Queue = std::deque<std::shared_ptr<Task>>;

  void loop();
  void stop();
  static void stopAll();

  bool isEmpty() const;
  Queue& queueOf(const Task& task) { return lanes_[static_cast<int>(task.schedule_.lane)]; }
  /// Those whose deadline has passed. With the lock.
  Tasks takeExpired();
  /// What is computed next, in one pass. With the lock.
  Tasks takeNext();
  static void run(const Tasks& tasks) noexcept;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::array<Queue, kLanes> lanes_;
  /// Since a task of the batch lane had its turn, or none waited.
  int interactiveRuns_ = 0;
  Tasks running_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace segsam
