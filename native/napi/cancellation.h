#pragma once

#include <memory>
#include <vector>

#include "napi/napi_setup.h"

namespace segsam {

class Job;

/// What is behind a Cancellation object. JavaScript thread only.
class CancelState {
 public:
  bool cancelled() const { return cancelled_; }
  void add(const std::shared_ptr<Job>& job);
  void cancel(bool expired);

 private:
  bool cancelled_ = false;
  std::vector<std::weak_ptr<Job>> jobs_;
};

/// Of a Cancellation object; null for undefined and null.
/// @throws Error INVALID_ARGUMENT
CancelState* cancelStateOf(const Napi::Value& value);

Napi::Function cancellationClass(Napi::Env env);

}  // namespace segsam
