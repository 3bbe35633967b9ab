#pragma once

#include <ATen/ATen.h>

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
  /// Of the model that it is for; null: the task is neither limited nor counted, whatever its kind.
  std::shared_ptr<Traffic> traffic;
  /// Whether the traffic's limit holds for it.
  bool limited = true;
};

/// A piece of work for an executor.
class Task {
 public:
  Task(std::shared_ptr<Work> work, Schedule schedule) : work_(std::move(work)), schedule_(std::move(schedule)) {}
  virtual ~Task() = default;

  /// On a thread of the executor, once, when it has run or its deadline has passed. A task that was dropped does not
  /// end.
  virtual void end(const std::optional<Failure>& failure) noexcept = 0;

 protected:
  /// Read by the executor while the task waits or runs.
  std::shared_ptr<Work> work_;

 private:
  friend class Executor;
  Schedule schedule_;
  Clock::time_point submitted_;
};

/// What computes on a device, and its queue. All of the process shares it: libtorch keeps one pool of OpenMP threads
/// per calling thread.
///
/// One thread, the main one, takes tasks one after the other. On several cores of the CPU it computes on all of them
/// while nothing else waits. What waits when it takes a task has helpers, threads that compute on one core each, and
/// leaves it the other cores: many tasks are done sooner side by side, without the threads of one waiting for each
/// other. No task starts before there is a core for it, because OpenMP's threads spin while they wait. Where fewer
/// tasks are there than half the cores, they run one after the other on all cores, which should end sooner. Tasks are
/// counted, not passes: where many of them join, cores may stay idle for one pass.
///
/// On a GPU it has two threads, each with a stream of its own: while the GPU computes what one asked for, the other
/// uploads its images or writes its masks to the host. Either may use all cores of the CPU for that.
///
/// Interactive tasks go before those of the batch lane, but while one of these waits, every fifth run is theirs. Within
/// a lane they start in the order of submission, with two exceptions. A task takes along what waits in its lane and
/// joins it. And an encode lets others go before it, at most four runs in a row: a decode is short, its scene takes
/// memory until then, and a click does not wait for the images of others.
class Executor {
 public:
  static constexpr int kInteractiveRuns = 4;
  static constexpr int kRunsBeforeEncode = 4;
  /// So long after its last task an executor gives back the memory that tasks use again.
  static constexpr std::chrono::milliseconds kIdle{10'000};

  /// The executor of the device named `device` (`cpu`, `cuda:0`, ...); its threads start when they are first needed.
  static std::shared_ptr<Executor> of(const std::string& device);

  /// Ends all executors, as their destructors do. Before the process exits: exit() destroys objects that libtorch
  /// computes with, some of which it makes in later tasks than others, so that no handler of exit() would be in time.
  static void stopAll();

  /// @param cores that it shares out among tasks; 1: tasks run one after the other
  explicit Executor(int cores = 1, std::chrono::milliseconds idle = kIdle) : Executor(at::kCPU, cores, idle) {}
  /// @param cores of the CPU, or streams of a GPU
  Executor(at::Device device, int cores, std::chrono::milliseconds idle = kIdle)
      : device_(device), cores_(cores), idle_(idle), freeCores_(cores) {}
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  /// Drops what waits and waits for what runs.
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

  void loop(bool isMain);
  /// Until there is a task, or it stops.
  void waitForTask(std::unique_lock<std::mutex>& lock, bool isMain);
  void stop();

  /// With the lock, as all of these.
  size_t waiting() const;
  bool mayTake(bool isMain) const;
  /// On how many cores the main thread computes what it took.
  int coresOfMain() const;
  Queue& queueOf(Lane lane) { return lanes_[static_cast<int>(lane)]; }
  Queue& queueOf(const Task& task) { return queueOf(task.schedule_.lane); }
  /// Those whose deadline has passed.
  Tasks takeExpired();
  /// The task of a lane that is next.
  Queue::iterator nextOf(Lane lane);
  /// What is computed next, in one pass.
  Tasks takeNext();

  static void run(const Tasks& tasks) noexcept;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::array<Queue, kLanes> lanes_;
  /// Since a task of the batch lane had its turn, or none waited.
  int interactiveRuns_ = 0;
  struct Overtaken {
    /// The encode that is the first of its lane; compared alone.
    const Task* encode = nullptr;
    /// Runs that went before it.
    int runs = 0;
  };
  std::array<Overtaken, kLanes> overtaken_;
  Tasks running_;
  const at::Device device_;
  const int cores_;
  const std::chrono::milliseconds idle_;
  int freeCores_;
  /// Passes that are computed now.
  int passes_ = 0;
  bool mainComputes_ = false;
  bool stopping_ = false;
  /// The main one first.
  std::vector<std::thread> threads_;
};

}  // namespace segsam
