#include "napi/cancellation.h"

#include <algorithm>

#include "error.h"
#include "napi/arguments.h"
#include "napi/job.h"
#include "napi/wrapped.h"

namespace segsam {

template <>
struct WrappedType<CancelState> {
  static constexpr const char* kName = "Cancellation";
  static constexpr napi_type_tag kTag = {0x5e65a40c8d6b4f10, 0x9a3b7c1de2f04d51};
};

void CancelState::add(const std::shared_ptr<Job>& job) {
  jobs_.erase(std::remove_if(jobs_.begin(), jobs_.end(), [](const auto& known) { return known.expired(); }),
              jobs_.end());
  jobs_.push_back(job);
}

void CancelState::cancel(bool expired) {
  cancelled_ = true;
  for (const auto& known : jobs_) {
    if (const auto job = known.lock()) job->cancel(expired);
  }
  jobs_.clear();
}

CancelState* cancelStateOf(const Napi::Value& value) {
  if (value.IsUndefined() || value.IsNull()) return nullptr;
  return &unwrap<CancelState>(value);
}

Napi::Function cancellationClass(Napi::Env env) {
  return defineOpenClass<CancelState>(env, {method("cancel", [](const Napi::CallbackInfo& info) -> Napi::Value {
                                        const bool expired = readBoolean(info[0], "expired");
                                        unwrap<CancelState>(info.This()).cancel(expired);
                                        return info.Env().Undefined();
                                      })});
}

}  // namespace segsam
