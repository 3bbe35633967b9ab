#include "engine/executor.h"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "engine/counters.h"

using namespace segsam;

namespace {

struct BodyWork : SingleWork {
  explicit BodyWork(std::function<void()> itsBody) : body(std::move(itsBody)) {}
  void run() override { body(); }
  std::function<void()> body;
};

struct Call : Task {
  using Task::Task;
  void end(const std::optional<Failure>& failure) noexcept override { code = failure ? failure->code : "done"; }
  std::string code = "not ended";
};

std::shared_ptr<Call> call(std::function<void()> body, const Schedule& schedule = {}) {
  return std::make_shared<Call>(std::make_shared<BodyWork>(std::move(body)), schedule);
}

/// Joins others of its number, up to five items; notes what ran in one pass. One that is bad spoils the pass.
struct NotedWork : Work {
  NotedWork(std::vector<std::string>& itsLog, int itsNumber, int64_t itsItems = 1, bool itIsBad = false)
      : log(itsLog), number(itsNumber), count(itsItems), isBad(itIsBad) {}
  void run() override { runWith({}); }
  int64_t items() const override { return count; }
  bool joins(const Work& other, int64_t total) const override {
    return static_cast<const NotedWork&>(other).number == number && total <= 5;
  }
  void runWith(const std::vector<Work*>& others) override {
    std::string pass = std::to_string(number);
    bool spoilt = isBad;
    for (const Work* other : others) {
      pass.append("+").append(std::to_string(static_cast<const NotedWork*>(other)->number));
      spoilt = spoilt || static_cast<const NotedWork*>(other)->isBad;
    }
    log.push_back(pass);
    if (spoilt) throw Error(kRuntime, "bad");
  }
  std::vector<std::string>& log;
  int number;
  int64_t count;
  bool isBad;
};

/// Holds the executor's thread until it is opened.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

/// An executor whose thread is held, so that what is submitted waits, until `finish`.
class HeldExecutor {
 public:
  HeldExecutor() {
    holder_ = call([this] {
      started_.open();
      gate_.pass();
    });
    executor.submit(holder_);
    started_.pass();
  }
  ~HeldExecutor() { gate_.open(); }

  void submit(const std::shared_ptr<Call>& task) {
    tasks_.push_back(task);
    executor.submit(task);
  }
  /// Lets it run, and waits for all that were submitted.
  void finish() {
    gate_.open();
    executor.wait(*holder_);
    for (const auto& task : tasks_) executor.wait(*task);
  }

  Executor executor;

 private:
  Gate gate_;
  Gate started_;
  std::shared_ptr<Call> holder_;
  std::vector<std::shared_ptr<Call>> tasks_;
};

Schedule inLane(Lane lane, std::shared_ptr<Traffic> traffic = nullptr) {
  Schedule schedule;
  schedule.lane = lane;
  schedule.traffic = std::move(traffic);
  return schedule;
}

}  // namespace

TEST("a device has one executor, and another device another") {
  EXPECT(Executor::of("a") == Executor::of("a"));
  EXPECT(Executor::of("a") != Executor::of("b"));
}

TEST("tasks run one after the other on one thread, in order") {
  Executor executor;
  std::vector<int> order;
  std::vector<std::thread::id> threads;
  std::vector<std::shared_ptr<Call>> calls;
  for (int i = 0; i < 50; ++i) {
    calls.push_back(call([&, i] {
      order.push_back(i);
      threads.push_back(std::this_thread::get_id());
    }));
    executor.submit(calls.back());
  }
  for (const auto& each : calls) executor.wait(*each);
  EXPECT_EQUAL(order.size(), size_t{50});
  for (int i = 0; i < 50; ++i) EXPECT(order[i] == i && threads[i] == threads[0]);
  EXPECT(threads[0] != std::this_thread::get_id());
}

TEST("a waiting task can be dropped, a running one cannot") {
  Executor executor;
  Gate gate;
  Gate started;
  std::atomic<bool> ran = false;
  const auto running = call([&] {
    started.open();
    gate.pass();
  });
  const auto waiting = call([&] { ran = true; });
  executor.submit(running);
  executor.submit(waiting);
  started.pass();
  EXPECT_EQUAL(counters().queued.load(), 1);
  EXPECT(!executor.drop(*running));
  EXPECT(executor.drop(*waiting));
  EXPECT(!executor.drop(*waiting));
  EXPECT_EQUAL(counters().queued.load(), 0);
  gate.open();
  executor.wait(*running);
  executor.wait(*waiting);
  EXPECT(!ran);
}

TEST("an executor that ends drops what waits") {
  std::atomic<int> ran = 0;
  Gate gate;
  Gate started;
  auto executor = std::make_unique<Executor>();
  executor->submit(call([&] {
    started.open();
    gate.pass();
    ++ran;
  }));
  std::weak_ptr<Call> waiting;
  {
    const auto task = call([&] { ++ran; });
    waiting = task;
    executor->submit(task);
  }
  started.pass();
  std::thread opener([&] { gate.open(); });
  executor.reset();
  opener.join();
  EXPECT(ran >= 1);
  EXPECT(waiting.expired());
  EXPECT_EQUAL(counters().queued.load(), 0);
}

TEST("interactive tasks go before the batch lane, which has every fifth run while it waits") {
  HeldExecutor held;
  std::string order;
  for (int i = 0; i < 3; ++i) held.submit(call([&] { order += 'b'; }, inLane(Lane::kBatch)));
  for (int i = 0; i < 10; ++i) held.submit(call([&] { order += 'i'; }, inLane(Lane::kInteractive)));
  held.finish();
  EXPECT_EQUAL(order, std::string("iiiibiiiibiib"));
}

TEST("tasks that join run in one pass, in their lane, with no more items than allowed") {
  HeldExecutor held;
  std::vector<std::string> log;
  const auto submit = [&](int number, int64_t items, Lane lane) {
    held.submit(std::make_shared<Call>(std::make_shared<NotedWork>(log, number, items), inLane(lane)));
  };
  submit(1, 2, Lane::kInteractive);
  submit(2, 1, Lane::kInteractive);
  submit(1, 2, Lane::kInteractive);
  submit(1, 2, Lane::kInteractive);
  submit(2, 1, Lane::kBatch);
  submit(1, 1, Lane::kInteractive);
  held.finish();
  EXPECT(log == std::vector<std::string>({"1+1+1", "2", "1", "2"}));
  EXPECT_EQUAL(counters().queued.load(), 0);
}

TEST("a pass that fails is taken apart: only the task that fails alone has failed") {
  HeldExecutor held;
  std::vector<std::string> log;
  const auto traffic = std::make_shared<Traffic>(10);
  std::vector<std::shared_ptr<Call>> calls;
  for (bool isBad : {false, true, false}) {
    calls.push_back(
        std::make_shared<Call>(std::make_shared<NotedWork>(log, 7, 1, isBad), inLane(Lane::kInteractive, traffic)));
    held.submit(calls.back());
  }
  held.finish();
  EXPECT(log == std::vector<std::string>({"7+7+7", "7", "7", "7"}));
  EXPECT(calls[0]->code == "done" && calls[1]->code == kRuntime && calls[2]->code == "done");
  const TrafficStats stats = traffic->stats();
  EXPECT_EQUAL(stats.outcomes[static_cast<int>(Outcome::kDone)], 2);
  EXPECT_EQUAL(stats.outcomes[static_cast<int>(Outcome::kFailed)], 1);
}

TEST("a task whose deadline passes while it waits ends without running") {
  HeldExecutor held;
  const auto traffic = std::make_shared<Traffic>(10);
  std::string order;
  Schedule late = inLane(Lane::kInteractive, traffic);
  late.deadline = Clock::now() + std::chrono::milliseconds(1);
  Schedule early = late;
  early.deadline = Clock::now() + std::chrono::hours(1);
  const auto expired = call([&] { order += 'x'; }, late);
  const auto inTime = call([&] { order += 'a'; }, early);
  held.submit(expired);
  held.submit(inTime);
  std::this_thread::sleep_until(*late.deadline);
  held.finish();
  EXPECT_EQUAL(order, std::string("a"));
  EXPECT(expired->code == kDeadlineExceeded && inTime->code == "done");
  EXPECT_EQUAL(traffic->stats().outcomes[static_cast<int>(Outcome::kExpired)], 1);
  EXPECT_EQUAL(counters().queued.load(), 0);
}

TEST("a full queue refuses a task, but not one that need not have room") {
  HeldExecutor held;
  const auto traffic = std::make_shared<Traffic>(2);
  const Schedule schedule = inLane(Lane::kBatch, traffic);
  const auto first = call([] {}, schedule);
  held.submit(first);
  held.submit(call([] {}, inLane(Lane::kInteractive, traffic)));
  EXPECT_ERROR("QUEUE_FULL", held.executor.submit(call([] {}, schedule)));
  Schedule unlimited = schedule;
  unlimited.limited = false;
  held.submit(call([] {}, unlimited));
  EXPECT(held.executor.drop(*first));
  EXPECT_ERROR("QUEUE_FULL", held.executor.submit(call([] {}, schedule)));
  TrafficStats stats = traffic->stats();
  EXPECT(stats.queued[0] == 1 && stats.queued[1] == 1);
  held.finish();
  stats = traffic->stats();
  EXPECT(stats.queued[0] == 0 && stats.queued[1] == 0 && stats.running == 0);
  EXPECT((stats.outcomes == std::array<int64_t, kOutcomes>{2, 0, 1, 0, 2}));
}

TEST("times are summed up over the last of them") {
  TimeWindow window;
  EXPECT_EQUAL(window.summary().p99, 0.0);
  for (int i = 0; i < 5000; ++i) window.add(1e9);
  for (size_t i = 1; i <= TimeWindow::kLength; ++i) window.add(static_cast<double>(i));
  const Times times = window.summary();
  EXPECT_EQUAL(times.mean, 512.5);
  EXPECT_EQUAL(times.p50, 512.0);
  EXPECT_EQUAL(times.p95, 973.0);
  EXPECT_EQUAL(times.p99, 1014.0);
}
