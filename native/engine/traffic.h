#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <vector>

namespace segsam {

/// Which of two queues a task waits in.
enum class Lane { kInteractive, kBatch };
inline constexpr int kLanes = 2;

/// What became of a job.
enum class Outcome { kDone, kFailed, kAborted, kExpired, kRejected };
inline constexpr int kOutcomes = 5;

enum class WorkKind { kEncode, kDecode };
inline constexpr int kWorkKinds = 2;

/// Of the times in a window, in milliseconds; all 0 where there is none.
struct Times {
  double mean;
  double p50;
  double p95;
  double p99;
};

struct KindStats {
  int64_t runs;
  int64_t jobs;
  /// Images or prompts.
  int64_t items;
  /// From the call to the start, a job.
  Times wait;
  /// A run, whatever the number of its jobs.
  Times run;
};

struct TrafficStats {
  std::array<int64_t, kLanes> queued;
  int64_t running;
  std::array<int64_t, kOutcomes> outcomes;
  std::array<KindStats, kWorkKinds> kinds;
};

/// The last times of a kind.
class TimeWindow {
 public:
  static constexpr size_t kLength = 1024;

  void add(double milliseconds);
  /// Percentiles by nearest rank.
  Times summary() const;

 private:
  std::vector<double> times_;
  size_t next_ = 0;
};

/// The encodes and decodes of one model on their way through an executor: how many may wait, and what became of them.
class Traffic {
 public:
  /// @param maxQueue jobs that may wait
  explicit Traffic(int64_t maxQueue) : maxQueue_(maxQueue) {}

  /// @param limited whether there must be room
  /// @throws Error QUEUE_FULL, and counts a rejection, where as many wait as may
  void enter(Lane lane, bool limited);
  /// A job that waited was dropped.
  void leave(Lane lane, Outcome outcome);
  void start(Lane lane, WorkKind kind, double waitedMilliseconds);
  void end(Outcome outcome);
  /// One run of the model, which computed the items of some jobs.
  void ran(WorkKind kind, int64_t jobs, int64_t items, double milliseconds);

  TrafficStats stats() const;

 private:
  struct Kind {
    int64_t runs = 0;
    int64_t jobs = 0;
    int64_t items = 0;
    TimeWindow wait;
    TimeWindow run;
  };

  mutable std::mutex mutex_;
  int64_t maxQueue_;
  std::array<int64_t, kLanes> queued_{};
  int64_t running_ = 0;
  std::array<int64_t, kOutcomes> outcomes_{};
  std::array<Kind, kWorkKinds> kinds_;
};

}  // namespace segsam
