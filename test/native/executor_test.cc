#include "engine/executor.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
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

/// Holds a thread of an executor until it is opened.
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

/// An executor whose cores are all held, so that what is submitted waits, until `finish` or `release`.
class HeldExecutor {
 public:
  explicit HeldExecutor(int cores = 1) : executor(cores) {
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
  void release() {
    gate_.open();
    executor.wait(*holder_);
  }
  /// Lets it run, and waits for all that were submitted.
  void finish() {
    release();
    for (const auto& task : tasks_) executor.wait(*task);
  }

  Executor executor;

 private:
  Gate gate_;
  Gate started_;
  std::shared_ptr<Call> holder_;
  std::vector<std::shared_ptr<Call>> tasks_;
};

/// A task that holds its thread.
struct HeldCall {
  void finish(Executor& executor) {
    gate.open();
    executor.wait(*task);
  }

  Gate started;
  Gate gate;
  int cores = 0;
  std::shared_ptr<Call> task = call([this] {
    cores = at::get_num_threads();
    started.open();
    gate.pass();
  });
};

Schedule inLane(Lane lane, std::shared_ptr<Traffic> traffic = nullptr) {
  Schedule schedule;
  schedule.lane = lane;
  schedule.traffic = std::move(traffic);
  return schedule;
}

}  // namespace

TEST("a device has one executor, and another device another") {
  EXPECT(Executor::of("cuda:0") == Executor::of("cuda:0"));
  EXPECT(Executor::of("cuda:0") != Executor::of("cuda:1"));
}

TEST("tasks of a GPU run two at a time, and may use all cores of the CPU") {
  Executor executor(at::kMeta, 2);
  HeldCall first;
  HeldCall second;
  executor.submit(first.task);
  first.started.pass();
  executor.submit(second.task);
  second.started.pass();
  EXPECT_EQUAL(first.cores, at::get_num_threads());
  EXPECT_EQUAL(second.cores, at::get_num_threads());
  first.finish(executor);
  second.finish(executor);
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

TEST("an encode lets others of its lane go before it, four times in a row") {
  HeldExecutor held;
  const auto traffic = std::make_shared<Traffic>(100);
  std::string order;
  const auto submit = [&](char name, Lane lane, WorkKind kind, bool isCounted = true) {
    Schedule schedule = inLane(lane, isCounted ? traffic : nullptr);
    schedule.kind = kind;
    const auto task = call([&order, name] { order += name; }, schedule);
    held.submit(task);
    return task;
  };
  const auto dropped = submit('x', Lane::kInteractive, WorkKind::kEncode);
  for (char name : {'E', 'F'}) submit(name, Lane::kInteractive, WorkKind::kEncode);
  for (int i = 0; i < 5; ++i) submit('d', Lane::kInteractive, WorkKind::kDecode);
  // Neither an encode nor counted: classes that are prepared, say.
  submit('c', Lane::kInteractive, WorkKind::kEncode, false);
  for (char name : {'G', 'H'}) submit(name, Lane::kBatch, WorkKind::kEncode);
  submit('b', Lane::kBatch, WorkKind::kDecode);
  EXPECT(held.executor.drop(*dropped));
  held.finish();
  // Every fifth run is one of the batch lane.
  EXPECT_EQUAL(order, std::string("ddddbEdcFGH"));
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

TEST("tasks that wait run at the same time, each on a core of its own, and one that is alone has all of them") {
  HeldExecutor held(4);
  std::latch together(3);
  std::vector<int> cores(3);
  for (int& each : cores) {
    held.submit(call([&] {
      each = at::get_num_threads();
      together.arrive_and_wait();
    }));
  }
  held.finish();
  std::sort(cores.begin(), cores.end());
  EXPECT_EQUAL(cores, (std::vector<int>{1, 1, 2}));
  for (int i = 0; i < 2; ++i) {
    HeldCall alone;
    held.executor.submit(alone.task);
    alone.finish(held.executor);
    EXPECT_EQUAL(alone.cores, 4);
  }
}

TEST("more tasks than cores all run, as many at a time as there are cores") {
  constexpr int kCores = 3;
  constexpr int kTasks = 60;
  HeldExecutor held(kCores);
  std::latch together(kCores);
  std::atomic<int> started = 0;
  std::atomic<int> running = 0;
  std::atomic<int> most = 0;
  for (int i = 0; i < kTasks; ++i) {
    held.submit(call([&] {
      const int now = ++running;
      for (int known = most; known < now && !most.compare_exchange_weak(known, now);) {
      }
      if (++started <= kCores) together.arrive_and_wait();
      --running;
    }));
  }
  held.finish();
  EXPECT_EQUAL(started.load(), kTasks);
  EXPECT_EQUAL(most.load(), kCores);
  EXPECT_EQUAL(counters().queued.load(), 0);
}

TEST("no task starts beside one that computes on all cores") {
  Executor executor(2);
  HeldCall first;
  executor.submit(first.task);
  first.started.pass();
  std::atomic<bool> firstEnded = false;
  bool inTurn = false;
  const auto second = call([&] { inTurn = firstEnded; });
  executor.submit(second);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  firstEnded = true;
  first.finish(executor);
  executor.wait(*second);
  EXPECT(inTurn);
  EXPECT_EQUAL(first.cores, 2);
}

TEST("few tasks on many cores run one after the other, on all of them") {
  for (const auto& [cores, tasks] : std::vector<std::pair<int, int>>{{5, 2}, {16, 7}}) {
    HeldExecutor held(cores);
    std::vector<std::thread::id> threads;
    for (int i = 0; i < tasks; ++i) {
      held.submit(call([&, expected = cores] {
        threads.push_back(std::this_thread::get_id());
        EXPECT_EQUAL(at::get_num_threads(), expected);
      }));
    }
    held.finish();
    EXPECT_EQUAL(threads, std::vector<std::thread::id>(tasks, threads[0]));
  }
}

TEST("a helper takes what comes, in the order of the lanes, drops it and lets it expire, as the main thread does") {
  HeldExecutor held(2);
  HeldCall onMain;
  HeldCall onHelper;
  held.submit(onMain.task);
  held.submit(onHelper.task);
  held.release();
  onMain.started.pass();
  onHelper.started.pass();
  EXPECT(onMain.cores == 1 && onHelper.cores == 1);

  std::string order;
  std::vector<std::shared_ptr<Call>> tasks;
  const auto submit = [&](char name, const Schedule& schedule) {
    tasks.push_back(call([&order, name] { order += name; }, schedule));
    held.submit(tasks.back());
    return tasks.back();
  };
  for (int i = 0; i < 3; ++i) submit('b', inLane(Lane::kBatch));
  const auto dropped = submit('x', inLane(Lane::kInteractive));
  Schedule late = inLane(Lane::kInteractive);
  late.deadline = Clock::now();
  const auto expired = submit('x', late);
  for (int i = 0; i < 10; ++i) submit('i', inLane(Lane::kInteractive));
  EXPECT(!held.executor.drop(*onHelper.task) && !held.executor.drop(*onMain.task));
  EXPECT(held.executor.drop(*dropped));

  onHelper.finish(held.executor);
  for (const auto& task : tasks) held.executor.wait(*task);
  EXPECT_EQUAL(order, std::string("iiiibiiiibiib"));
  EXPECT(expired->code == kDeadlineExceeded && dropped->code == "not ended");
  EXPECT_EQUAL(onMain.task->code, std::string("not ended"));
  EXPECT_EQUAL(counters().queued.load(), 0);
  onMain.finish(held.executor);
}

TEST("a pass that fails beside another fails alone") {
  HeldExecutor held(2);
  std::latch together(2);
  std::vector<std::shared_ptr<Call>> calls;
  for (const bool isBad : {true, false}) {
    calls.push_back(call([&together, isBad] {
      together.arrive_and_wait();
      if (isBad) throw Error(kRuntime, "bad");
    }));
    held.submit(calls.back());
  }
  held.finish();
  EXPECT(calls[0]->code == kRuntime && calls[1]->code == "done");
}

TEST("an executor that ends waits for all that run, and drops what waits") {
  HeldCall first;
  HeldCall second;
  std::weak_ptr<Call> waiting;
  std::thread opener;
  {
    HeldExecutor held(2);
    held.executor.submit(first.task);
    held.executor.submit(second.task);
    held.release();
    first.started.pass();
    second.started.pass();
    const auto task = call([] {});
    waiting = task;
    held.executor.submit(task);
    opener = std::thread([&] {
      first.gate.open();
      second.gate.open();
    });
  }
  opener.join();
  EXPECT(first.task->code == "done" && second.task->code == "done");
  EXPECT(waiting.expired());
  EXPECT_EQUAL(counters().queued.load(), 0);
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
