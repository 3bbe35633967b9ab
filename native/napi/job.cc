#include "napi/job.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "error.h"
#include "napi/cancellation.h"

namespace segsam {

namespace {

class FunctionWork : public SingleWork {
 public:
  explicit FunctionWork(std::function<void()> function) : function_(std::move(function)) {}
  void run() override { function_(); }

 private:
  std::function<void()> function_;
};

}  // namespace

Napi::Value Job::start(Napi::Env env, std::shared_ptr<Executor> executor, const Napi::Value& cancellation,
                       std::function<void()> work, Result result, const std::vector<Napi::Value>& kept) {
  return start(env, std::move(executor), cancellation, std::make_shared<FunctionWork>(std::move(work)), {},
               std::move(result), kept);
}

Napi::Value Job::start(Napi::Env env, std::shared_ptr<Executor> executor, const Napi::Value& cancellation,
                       std::shared_ptr<Work> work, Schedule schedule, Result result,
                       const std::vector<Napi::Value>& kept) {
  CancelState* cancel = cancelStateOf(cancellation);
  if (cancel != nullptr && cancel->cancelled()) throw Error(kAborted, "Aborted before it started");
  const auto job =
      std::make_shared<Job>(env, std::move(executor), std::move(work), std::move(schedule), std::move(result), kept);
  const Napi::Promise promise = job->deferred_.Promise();
  try {
    job->executor_->submit(job);
  } catch (...) {
    job->failure_ = describeCurrentException();
    job->settle(env);
    return promise;
  }
  Environment::of(env).pending.insert(job);
  job->completions_->hold(env, true);
  if (cancel != nullptr) cancel->add(job);
  return promise;
}

Job::Job(Napi::Env env, std::shared_ptr<Executor> executor, std::shared_ptr<Work> work, Schedule schedule,
         Result result, const std::vector<Napi::Value>& kept)
    : Task(std::move(work), std::move(schedule)),
      executor_(std::move(executor)),
      completions_(Environment::of(env).completions),
      result_(std::move(result)),
      deferred_(Napi::Promise::Deferred::New(env)) {
  for (const Napi::Value& value : kept) kept_.push_back(Napi::Reference<Napi::Value>::New(value, 1));
}

Job::~Job() {
  if (std::this_thread::get_id() == owner_ || (!work_ && !result_ && kept_.empty())) return;
  std::fputs("seg-sam: a job with references was destroyed off its JavaScript thread\n", stderr);
  std::abort();
}

void Job::end(const std::optional<Failure>& failure) noexcept {
  failure_ = failure;
  completions_->post(shared_from_this());
}

void Job::cancel(bool expired) {
  if (!executor_->drop(*this, expired ? Outcome::kExpired : Outcome::kAborted)) return;
  failure_ = expired ? Failure{kDeadlineExceeded, "The deadline passed before it started"}
                     : Failure{kAborted, "Aborted before it started"};
  completions_->post(shared_from_this());
}

void Job::settle(Napi::Env env) {
  try {
    if (failure_) {
      deferred_.Reject(makeError(env, failure_->code, failure_->message));
    } else {
      std::optional<Napi::Value> value;
      std::optional<Napi::Value> error;
      try {
        value = result_(env, kept_);
      } catch (...) {
        error = currentExceptionAsError(env);
      }
      if (error) {
        deferred_.Reject(*error);
      } else {
        deferred_.Resolve(*value);
      }
    }
  } catch (...) {
    // JavaScript can no longer be called: the worker is being terminated and nobody awaits the promise.
  }
  clear();
}

void Job::abandon() {
  if (!executor_->drop(*this)) executor_->wait(*this);
  clear();
}

void Job::clear() {
  work_ = nullptr;
  result_ = nullptr;
  kept_.clear();
}

std::shared_ptr<Completions> Completions::open(Napi::Env env) {
  auto completions = std::make_shared<Completions>();
  const auto status =
      napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "seg-sam"), 0, 1, nullptr, nullptr,
                                      completions.get(), &Completions::drain, &completions->function_);
  if (status != napi_ok) throw Napi::Error::New(env, "Cannot create a thread-safe function");
  napi_unref_threadsafe_function(env, completions->function_);
  completions->open_ = true;
  return completions;
}

void Completions::post(std::shared_ptr<Job> job) {
  const std::lock_guard lock(mutex_);
  if (!open_) return;
  ended_.push_back(std::move(job));
  napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking);
}

void Completions::close() {
  std::vector<std::shared_ptr<Job>> ended;
  const std::lock_guard lock(mutex_);
  open_ = false;
  ended.swap(ended_);
  napi_release_threadsafe_function(function_, napi_tsfn_abort);
}

void Completions::hold(Napi::Env env, bool held) {
  if (!open_) return;
  if (held) {
    napi_ref_threadsafe_function(env, function_);
  } else {
    napi_unref_threadsafe_function(env, function_);
  }
}

void Completions::drain(napi_env rawEnv, napi_value /*callback*/, void* context, void* /*data*/) {
  // No environment: the function is being torn down with calls still queued, and the context is gone.
  if (rawEnv == nullptr) return;
  auto* completions = static_cast<Completions*>(context);
  std::vector<std::shared_ptr<Job>> ended;
  {
    const std::lock_guard lock(completions->mutex_);
    ended.swap(completions->ended_);
  }
  const Napi::Env env(rawEnv);
  Environment& environment = Environment::of(env);
  for (const auto& job : ended) {
    const Napi::HandleScope scope(env);
    job->settle(env);
    environment.pending.erase(job);
  }
  if (environment.pending.empty()) completions->hold(env, false);
}

}  // namespace segsam
