#include "engine/recycled_memory.h"

#if defined(__GLIBC__)

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <malloc.h>

#include <algorithm>
#include <list>
#include <mutex>

namespace segsam {

namespace {

/// Smaller blocks the C library keeps for itself.
constexpr size_t kLeast = 128 << 10;

/// Every block is one of the C library's, which knows its size: whoever frees it and however, nothing is lost.
class RecyclingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes < kLeast ? allocateSmall(bytes) : allocateLarge(bytes);
    return {data, data, &RecyclingAllocator::giveBack, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &RecyclingAllocator::giveBack; }

  void copy_data(void* target, const void* source, size_t bytes) const override {
    default_copy_data(target, source, bytes);
  }

  void release() {
    std::list<void*> blocks;
    {
      const std::lock_guard lock(mutex_);
      if (!changed_) return;
      changed_ = false;
      blocks.swap(kept_);
      keptBytes_ = 0;
      peak_ = usedBytes_;
    }
    for (void* block : blocks) c10::free_cpu(block);
    // What lies below something that is still used the C library would keep.
    malloc_trim(0);
  }

  RecycledMemoryUse use() {
    const std::lock_guard lock(mutex_);
    return {usedBytes_, keptBytes_};
  }

  static RecyclingAllocator& instance() {
    // Never destroyed: tensors may outlive static objects when the process exits.
    static auto* const allocator = new RecyclingAllocator;
    return *allocator;
  }

 private:
  static size_t sizeOf(void* block) { return malloc_usable_size(block); }

  static void giveBack(void* block) {
    if (block == nullptr) return;
    if (sizeOf(block) < kLeast) return c10::free_cpu(block);
    instance().keep(block);
  }

  void* allocateSmall(size_t bytes) {
    void* block = c10::alloc_cpu(bytes);
    // The C library may give more than was asked for, and only what it gave is known when the block comes back.
    if (block != nullptr && sizeOf(block) >= kLeast) {
      const std::lock_guard lock(mutex_);
      use(block);
    }
    return block;
  }

  void* allocateLarge(size_t bytes) {
    std::list<void*> old;
    void* block = nullptr;
    {
      const std::lock_guard lock(mutex_);
      // The one that was used last is most likely still in a cache.
      const auto found = std::find_if(kept_.rbegin(), kept_.rend(), [&](void* kept) {
        return sizeOf(kept) >= bytes && sizeOf(kept) <= bytes + bytes / 8;
      });
      if (found != kept_.rend()) {
        block = *found;
        kept_.erase(std::next(found).base());
        keptBytes_ -= static_cast<int64_t>(sizeOf(block));
        use(block);
        return block;
      }
      while (!kept_.empty() && usedBytes_ + keptBytes_ + static_cast<int64_t>(bytes) > peak_ + kSpareMemory) {
        keptBytes_ -= static_cast<int64_t>(sizeOf(kept_.front()));
        old.splice(old.end(), kept_, kept_.begin());
      }
    }
    for (void* each : old) c10::free_cpu(each);
    try {
      block = c10::alloc_cpu(bytes);
    } catch (...) {
      release();
      block = c10::alloc_cpu(bytes);
    }
    const std::lock_guard lock(mutex_);
    use(block);
    return block;
  }

  /// With the lock.
  void use(void* block) {
    changed_ = true;
    usedBytes_ += static_cast<int64_t>(sizeOf(block));
    peak_ = std::max(peak_, usedBytes_);
  }

  void keep(void* block) noexcept {
    const std::lock_guard lock(mutex_);
    changed_ = true;
    // A block from before this allocator was never counted.
    usedBytes_ = std::max<int64_t>(0, usedBytes_ - static_cast<int64_t>(sizeOf(block)));
    try {
      kept_.push_back(block);
      keptBytes_ += static_cast<int64_t>(sizeOf(block));
    } catch (...) {
      c10::free_cpu(block);
    }
  }

  std::mutex mutex_;
  /// The one that was given back first comes first.
  std::list<void*> kept_;
  int64_t keptBytes_ = 0;
  int64_t usedBytes_ = 0;
  int64_t peak_ = 0;
  /// Since the last release.
  bool changed_ = true;
};

}  // namespace

void recycleMemory() {
  static const bool set = [] {
    c10::SetCPUAllocator(&RecyclingAllocator::instance());
    return true;
  }();
  static_cast<void>(set);
}

void releaseRecycledMemory() { RecyclingAllocator::instance().release(); }

RecycledMemoryUse recycledMemoryUse() { return RecyclingAllocator::instance().use(); }

}  // namespace segsam

#else

namespace segsam {

void recycleMemory() {}
void releaseRecycledMemory() {}
RecycledMemoryUse recycledMemoryUse() { return {0, 0}; }

}  // namespace segsam

#endif
