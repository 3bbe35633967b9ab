#include "engine/executor.h"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "check.h"
#include "engine/counters.h"

using namespace segsam;

namespace {

struct Call : Task {
  explicit Call(std::function<void()> itsBody) : body(std::move(itsBody)) {}
  void run() noexcept override { body(); }
  std::function<void()> body;
};

std::shared_ptr<Call> call(std::function<void()> body) { return std::make_shared<Call>(std::move(body)); }

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
