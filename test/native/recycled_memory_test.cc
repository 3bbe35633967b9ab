#include "engine/recycled_memory.h"

#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>

#include <array>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "check.h"
#include "engine/executor.h"

using namespace segsam;

namespace {

constexpr int64_t kLarge = 8 << 20;

at::Tensor block(int64_t bytes) { return at::empty({bytes}, at::kByte); }

class NoWork : public SingleWork {
 public:
  void run() override {}
};

class NoTask : public Task {
 public:
  NoTask() : Task(std::make_shared<NoWork>(), {}) {}
  void end(const std::optional<Failure>& /*failure*/) noexcept override {}
};

}  // namespace

#if defined(__GLIBC__)

TEST("a large block is used again, by what has almost its size") {
  recycleMemory();
  releaseRecycledMemory();
  void* first = block(kLarge).data_ptr();
  EXPECT(recycledMemoryUse().kept >= kLarge);
  const at::Tensor again = block(kLarge - kLarge / 16);
  EXPECT_EQUAL(again.data_ptr(), first);
  EXPECT_EQUAL(recycledMemoryUse().kept, 0);
  const at::Tensor other = block(kLarge);
  EXPECT(other.data_ptr() != first);
}

TEST("what is kept and what is in use are hardly more than was in use at once") {
  recycleMemory();
  releaseRecycledMemory();
  const int64_t before = recycledMemoryUse().used;
  for (int64_t i = 1; i <= 20; ++i) {
    block(kLarge * i / 2);
    const RecycledMemoryUse use = recycledMemoryUse();
    EXPECT_EQUAL(use.used, before);
    EXPECT(use.kept <= kLarge * i / 2 + kSpareMemory + kLarge / 64);
  }
}

TEST("blocks of several sizes, of which one at a time is in use, are all used again") {
  recycleMemory();
  releaseRecycledMemory();
  const std::array<int64_t, 3> sizes{kSpareMemory / 8, kSpareMemory / 4, kSpareMemory / 2};
  std::vector<void*> first;
  for (const int64_t bytes : sizes) first.push_back(block(bytes).data_ptr());
  for (size_t i = 0; i < sizes.size(); ++i) EXPECT_EQUAL(block(sizes[i]).data_ptr(), first[i]);
}

TEST("memory of libtorch from before is given back as any other") {
  auto* allocator = c10::GetDefaultCPUAllocator();
  recycleMemory();
  releaseRecycledMemory();
  void* small = allocator->raw_allocate(100);
  void* large = allocator->raw_allocate(kLarge);
  c10::GetCPUAllocator()->raw_deallocate(small);
  c10::GetCPUAllocator()->raw_deallocate(large);
  c10::GetCPUAllocator()->raw_deallocate(nullptr);
  EXPECT(recycledMemoryUse().kept >= kLarge);
  EXPECT(recycledMemoryUse().used >= 0);
  releaseRecycledMemory();
  EXPECT_EQUAL(recycledMemoryUse().kept, 0);
}

TEST("blocks about the least that is kept are counted alike when they are taken and given back") {
  recycleMemory();
  releaseRecycledMemory();
  const int64_t before = recycledMemoryUse().used;
  for (int64_t bytes = (128 << 10) - 300; bytes <= (128 << 10) + 300; ++bytes) block(bytes);
  EXPECT_EQUAL(recycledMemoryUse().used, before);
  EXPECT(recycledMemoryUse().kept <= kSpareMemory + (1 << 20));
}

TEST("an executor that has nothing to do gives memory back, and again what comes back without a task") {
  recycleMemory();
  Executor executor(1, std::chrono::milliseconds(1));
  executor.submit(std::make_shared<NoTask>());
  for (int i = 0; i < 3; ++i) {
    block(kLarge);
    for (int waits = 0; recycledMemoryUse().kept > 0 && waits < 10'000; ++waits) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQUAL(recycledMemoryUse().kept, 0);
  }
}

#endif
