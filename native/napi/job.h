#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "engine/executor.h"
#include "engine/failure.h"
#include "napi/environment.h"
#include "napi/napi_setup.h"

namespace segsam {

// The life of a job, and the rules that keep it safe.
//
// A promise method starts a Job on the JavaScript thread. A thread of the executor runs its work, perhaps together with
// that of others, then ends the job, which goes to the environment's Completions; the JavaScript thread calls `result`
// and settles the promise, exactly once.
//
// 1. Only the JavaScript thread creates, reads or deletes references. So work, `result` and the references are
//    cleared when the job is settled or abandoned, both on that thread; what the executor may destroy later is empty.
// 2. Work touches no Node-API value. It reads and writes memory that the kept references keep alive.
// 3. An environment that goes away first closes its Completions, drops its waiting jobs and waits for those that run.
//    Nothing of it is touched after that, and no promise is settled: there is no one left to see it.
// 4. The thread-safe function is called under the lock of Completions and only while it is open.

class Job : public Task, public std::enable_shared_from_this<Job> {
 public:
  using Kept = std::vector<Napi::Reference<Napi::Value>>;
  /// On the JavaScript thread, with the kept values in their order; throws to reject.
  using Result = std::function<Napi::Value(Napi::Env, const Kept&)>;

  /// @param cancellation a Cancellation object, or undefined
  /// @param kept values that stay alive until the promise is settled
  static Napi::Value start(Napi::Env env, std::shared_ptr<Executor> executor, const Napi::Value& cancellation,
                           std::shared_ptr<Work> work, Schedule schedule, Result result,
                           const std::vector<Napi::Value>& kept = {});
  /// Work that joins no other, neither limited nor counted. It runs on a thread of the executor and throws to reject.
  static Napi::Value start(Napi::Env env, std::shared_ptr<Executor> executor, const Napi::Value& cancellation,
                           std::function<void()> work, Result result, const std::vector<Napi::Value>& kept = {});

  Job(Napi::Env env, std::shared_ptr<Executor> executor, std::shared_ptr<Work> work, Schedule schedule, Result result,
      const std::vector<Napi::Value>& kept);
  ~Job() override;

  void end(const std::optional<Failure>& failure) noexcept override;

  /// Rejects with ABORTED, or DEADLINE_EXCEEDED, where the job has not started. JavaScript thread.
  void cancel(bool expired);
  /// Settles the promise. JavaScript thread, after `end` or a successful `cancel`.
  void settle(Napi::Env env);
  /// Drops the job or waits for its end, without settling. JavaScript thread.
  void abandon();

 private:
  void clear();

  std::thread::id owner_ = std::this_thread::get_id();
  std::shared_ptr<Executor> executor_;
  std::shared_ptr<Completions> completions_;
  Result result_;
  Kept kept_;
  Napi::Promise::Deferred deferred_;
  std::optional<Failure> failure_;
};

/// Jobs of one environment that ended and wait to be settled on its thread.
class Completions {
 public:
  static std::shared_ptr<Completions> open(Napi::Env env);

  /// Any thread.
  void post(std::shared_ptr<Job> job);
  /// JavaScript thread.
  void close();

  /// Keeps the event loop running while jobs are pending. JavaScript thread.
  void hold(Napi::Env env, bool held);

 private:
  static void drain(napi_env env, napi_value callback, void* context, void* data);

  std::mutex mutex_;
  bool open_ = false;
  napi_threadsafe_function function_ = nullptr;
  std::vector<std::shared_ptr<Job>> ended_;
};

}  // namespace segsam
