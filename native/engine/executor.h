#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace segsam {

/// A piece of work for an executor. `run` catches what it throws.
class Task {
 public:
  virtual ~Task() = default;
  virtual void run() noexcept = 0;
};

/// The one thread that computes on a device, and its queue. All of the process shares it: libtorch keeps one pool of
/// OpenMP threads per calling thread, and CUDA wants thread affinity.
class Executor {
 public:
  /// The executor of the device named `device` (`cpu`, `cuda:0`, ...); its thread starts with the first task.
  static std::shared_ptr<Executor> of(const std::string& device);

  Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  ~Executor();

  void submit(std::shared_ptr<Task> task);

  /// Takes a task that has not started from the queue. @return whether it will never run
  bool drop(const Task& task);

  /// Returns once the task neither waits nor runs.
  void wait(const Task& task);

 private:
  void loop();
  void stop();
  static void stopAll();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Task>> queue_;
  const Task* running_ = nullptr;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace segsam
