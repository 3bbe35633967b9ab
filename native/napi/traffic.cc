#include "napi/traffic.h"

#include <string>
#include <utility>

#include "napi/arguments.h"

namespace segsam {

namespace {

/// In the order of Lane, Outcome and WorkKind.
constexpr const char* kLaneNames[] = {"interactive", "batch"};
constexpr const char* kOutcomeNames[] = {"done", "failed", "aborted", "expired", "rejected"};
constexpr const char* kKindNames[] = {"encode", "decode"};
static_assert(std::size(kLaneNames) == kLanes && std::size(kOutcomeNames) == kOutcomes &&
              std::size(kKindNames) == kWorkKinds);

Lane readLane(const Napi::Value& value) {
  const std::string name = readString(value, "priority");
  for (int i = 0; i < kLanes; ++i) {
    if (name == kLaneNames[i]) return static_cast<Lane>(i);
  }
  throw Error(kInvalidArgument, "Expected priority interactive or batch, got " + name);
}

Napi::Object describe(Napi::Env env, const Times& times) {
  const auto result = Napi::Object::New(env);
  result.Set("mean", times.mean);
  result.Set("p50", times.p50);
  result.Set("p95", times.p95);
  result.Set("p99", times.p99);
  return result;
}

Napi::Object describe(Napi::Env env, const KindStats& kind) {
  const auto result = Napi::Object::New(env);
  result.Set("runs", static_cast<double>(kind.runs));
  result.Set("jobs", static_cast<double>(kind.jobs));
  result.Set("items", static_cast<double>(kind.items));
  result.Set("wait", describe(env, kind.wait));
  result.Set("run", describe(env, kind.run));
  return result;
}

}  // namespace

Schedule readSchedule(const Napi::Value& value, WorkKind kind, std::shared_ptr<Traffic> traffic) {
  const Napi::Object object = readObject(value, "schedule");
  Schedule schedule{readLane(object.Get("priority")), std::nullopt, kind, std::move(traffic),
                    readBoolean(object.Get("limited"), "limited")};
  const Napi::Value timeout = object.Get("timeout");
  if (!timeout.IsNull()) {
    const std::chrono::duration<double, std::milli> left(readNumber(timeout, "timeout"));
    constexpr std::chrono::hours kLongest(24 * 365);
    if (left < kLongest) schedule.deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(left);
  }
  return schedule;
}

Napi::Object describe(Napi::Env env, const TrafficStats& stats) {
  const auto result = Napi::Object::New(env);
  const auto queued = Napi::Object::New(env);
  for (int i = 0; i < kLanes; ++i) queued.Set(kLaneNames[i], static_cast<double>(stats.queued[i]));
  result.Set("queued", queued);
  result.Set("running", static_cast<double>(stats.running));
  for (int i = 0; i < kOutcomes; ++i) result.Set(kOutcomeNames[i], static_cast<double>(stats.outcomes[i]));
  for (int i = 0; i < kWorkKinds; ++i) result.Set(kKindNames[i], describe(env, stats.kinds[i]));
  return result;
}

}  // namespace segsam
