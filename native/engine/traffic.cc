#include "engine/traffic.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "error.h"

namespace segsam {

void TimeWindow::add(double milliseconds) {
  if (times_.size() < kLength) {
    times_.push_back(milliseconds);
  } else {
    times_[next_] = milliseconds;
    next_ = (next_ + 1) % kLength;
  }
}

Times TimeWindow::summary() const {
  if (times_.empty()) return {0, 0, 0, 0};
  std::vector<double> sorted = times_;
  std::sort(sorted.begin(), sorted.end());
  const auto count = static_cast<double>(sorted.size());
  const auto percentile = [&](double share) { return sorted[static_cast<size_t>(std::ceil(share * count)) - 1]; };
  return {std::accumulate(sorted.begin(), sorted.end(), 0.0) / count, percentile(0.5), percentile(0.95),
          percentile(0.99)};
}

void Traffic::enter(Lane lane, bool limited) {
  const std::lock_guard lock(mutex_);
  const int64_t waiting = std::accumulate(queued_.begin(), queued_.end(), int64_t{0});
  if (limited && waiting >= maxQueue_) {
    ++outcomes_[static_cast<int>(Outcome::kRejected)];
    throw Error(kQueueFull, std::to_string(waiting) + " jobs wait, and at most " + std::to_string(maxQueue_) + " may");
  }
  ++queued_[static_cast<int>(lane)];
}

void Traffic::leave(Lane lane, Outcome outcome) {
  const std::lock_guard lock(mutex_);
  --queued_[static_cast<int>(lane)];
  ++outcomes_[static_cast<int>(outcome)];
}

void Traffic::start(Lane lane, WorkKind kind, double waitedMilliseconds) {
  const std::lock_guard lock(mutex_);
  --queued_[static_cast<int>(lane)];
  ++running_;
  kinds_[static_cast<int>(kind)].wait.add(waitedMilliseconds);
}

void Traffic::end(Outcome outcome) {
  const std::lock_guard lock(mutex_);
  --running_;
  ++outcomes_[static_cast<int>(outcome)];
}

void Traffic::ran(WorkKind kind, int64_t jobs, int64_t items, double milliseconds) {
  const std::lock_guard lock(mutex_);
  Kind& known = kinds_[static_cast<int>(kind)];
  ++known.runs;
  known.jobs += jobs;
  known.items += items;
  known.run.add(milliseconds);
}

TrafficStats Traffic::stats() const {
  const std::lock_guard lock(mutex_);
  TrafficStats stats{queued_, running_, outcomes_, {}};
  for (int i = 0; i < kWorkKinds; ++i) {
    const Kind& kind = kinds_[i];
    stats.kinds[i] = {kind.runs, kind.jobs, kind.items, kind.wait.summary(), kind.run.summary()};
  }
  return stats;
}

}  // namespace segsam
