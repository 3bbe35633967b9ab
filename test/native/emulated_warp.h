#pragma once

/// What native/cuda/warp.h gives the kernels of a GPU, for the CPU: the threads of a block are coroutines, which wait
/// for each other where a warp or a block computes together. Slow, and for tests alone.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include <c10/util/Half.h>
#include <ucontext.h>

#include "cuda/arguments.h"

#define SEG_SAM_DEVICE inline
#define SEG_SAM_UNROLL
#define SEG_SAM_LOOP

namespace segsam::cuda {

struct alignas(16) Vector {
  uint32 words[4];
};

struct alignas(8) TwoFloats {
  float values[2];
};

struct alignas(16) FourFloats {
  float values[4];
};

using std::fmaxf;
using std::fminf;

/// The threads of one block.
class EmulatedBlock {
 public:
  /// Runs `kernel` in `threads` threads, a multiple of 32, as block (x, y, z) of a grid.
  static void run(int threads, std::array<int, 3> block, const std::function<void()>& kernel) {
    EmulatedBlock emulated(threads, block);
    running() = &emulated;
    emulated.start(kernel);
    running() = nullptr;
  }

  static EmulatedBlock*& running() {
    static thread_local EmulatedBlock* block = nullptr;
    return block;
  }

  int thread() const { return current_; }
  int block(int axis) const { return block_[axis]; }

  void waitForBlock() { wait(all_, static_cast<int>(contexts_.size())); }
  void waitForWarp() { wait(warps_[current_ / kLanes], kLanes); }

  /// Values of the lanes of the current thread's warp, once all of them have given theirs: read them between this and
  /// the next call.
  template <class Value>
  std::array<Value, 32> shareInWarp(const Value& own) {
    static_assert(sizeof(Value) <= kBytesShared);
    // Who comes to the second exchange after this one knows that all have come to the first, and so have read this.
    auto& shared = shared_[exchanges_[current_]++ % 2];
    std::memcpy(shared[current_].data(), &own, sizeof(Value));
    waitForWarp();
    std::array<Value, 32> values;
    for (int lane = 0; lane < kLanes; ++lane) {
      std::memcpy(&values[lane], shared[current_ / kLanes * kLanes + lane].data(), sizeof(Value));
    }
    return values;
  }

 private:
  static constexpr int kLanes = 32;
  static constexpr size_t kBytesShared = 32;
  static constexpr size_t kStack = 256 << 10;

  using Shared = std::vector<std::array<char, kBytesShared>>;

  struct Barrier {
    int arrived = 0;
    int generation = 0;
  };

  EmulatedBlock(int threads, std::array<int, 3> block)
      : block_(block),
        contexts_(threads),
        done_(threads),
        warps_(threads / kLanes),
        exchanges_(threads),
        shared_{Shared(threads), Shared(threads)} {}

  void start(const std::function<void()>& kernel) {
    kernel_ = &kernel;
    // One block after the other has them.
    static thread_local std::vector<std::unique_ptr<char[]>> stacks;
    while (stacks.size() < contexts_.size()) stacks.push_back(std::make_unique_for_overwrite<char[]>(kStack));
    for (size_t i = 0; i < contexts_.size(); ++i) {
      getcontext(&contexts_[i]);
      contexts_[i].uc_stack.ss_sp = stacks[i].get();
      contexts_[i].uc_stack.ss_size = kStack;
      contexts_[i].uc_link = &main_;
      makecontext(&contexts_[i], &EmulatedBlock::enter, 0);
    }
    while (std::find(done_.begin(), done_.end(), false) != done_.end()) {
      for (size_t i = 0; i < contexts_.size(); ++i) {
        if (done_[i]) continue;
        current_ = static_cast<int>(i);
        swapcontext(&main_, &contexts_[i]);
      }
    }
  }

  static void enter() {
    EmulatedBlock& block = *running();
    (*block.kernel_)();
    block.done_[block.current_] = true;
  }

  void wait(Barrier& barrier, int threads) {
    const int generation = barrier.generation;
    if (++barrier.arrived == threads) {
      barrier.arrived = 0;
      ++barrier.generation;
    }
    while (barrier.generation == generation) {
      const int thread = current_;
      swapcontext(&contexts_[thread], &main_);
    }
  }

  std::array<int, 3> block_;
  std::vector<ucontext_t> contexts_;
  std::vector<char> done_;
  std::vector<Barrier> warps_;
  /// Of each thread.
  std::vector<unsigned> exchanges_;
  std::array<Shared, 2> shared_;
  Barrier all_;
  ucontext_t main_{};
  const std::function<void()>* kernel_ = nullptr;
  int current_ = 0;
};

inline int threadIndex() { return EmulatedBlock::running()->thread(); }
inline int blockX() { return EmulatedBlock::running()->block(0); }
inline int blockY() { return EmulatedBlock::running()->block(1); }
inline int blockZ() { return EmulatedBlock::running()->block(2); }
inline int kept(int value) { return value; }
inline void synchroniseBlock() { EmulatedBlock::running()->waitForBlock(); }

inline float exchange(float value, int mask) {
  return EmulatedBlock::running()->shareInWarp(value)[threadIndex() % 32 ^ mask];
}

inline uint32 ballot(bool value) {
  const auto values = EmulatedBlock::running()->shareInWarp(value);
  uint32 word = 0;
  for (int lane = 0; lane < 32; ++lane) word |= static_cast<uint32>(values[lane]) << lane;
  return word;
}

inline float roundedProduct(float a, float b) { return a * b; }

inline bool anyInWarp(bool value) {
  const auto values = EmulatedBlock::running()->shareInWarp(value);
  return std::find(values.begin(), values.end(), true) != values.end();
}

inline float powerOfTwo(float x) { return std::exp2(x); }
inline float inverseRoot(float x) { return 1.0f / std::sqrt(x); }
inline float sine(float x) { return std::sin(x); }
inline float cosine(float x) { return std::cos(x); }
inline float hyperbolicTangent(float x) { return std::tanh(x); }
inline float errorFunction(float x) { return std::erf(x); }

struct SharedValues {
  uint16* values;
  SharedValues operator+(int count) const { return {values + count}; }
};

inline SharedValues inShared(uint16* values) { return {values}; }

inline uint32 loadHalf(SharedValues value) { return *value.values; }

inline uint32 loadWord(SharedValues values) { return *reinterpret_cast<const uint32*>(values.values); }

/// At once: that a kernel waits long enough is for a GPU to show.
inline void copyAsync(SharedValues target, const void* global, bool isThere) {
  isThere ? std::memcpy(target.values, global, 16) : std::memset(target.values, 0, 16);
}
inline void commitCopies() {}
template <int Pending>
inline void waitForCopies() {}

inline void loadMatrices(uint32 (&words)[4], SharedValues row) {
  const auto rows = EmulatedBlock::running()->shareInWarp(row.values);
  const int lane = threadIndex() % 32;
  for (int i = 0; i < 4; ++i) std::memcpy(&words[i], rows[i * 8 + lane / 4] + lane % 4 * 2, sizeof(uint32));
}

inline void loadTransposed(uint32 (&words)[4], SharedValues row) {
  const auto rows = EmulatedBlock::running()->shareInWarp(row.values);
  const int lane = threadIndex() % 32;
  for (int i = 0; i < 4; ++i) {
    const uint32 first = rows[i * 8 + lane % 4 * 2][lane / 4];
    const uint32 second = rows[i * 8 + lane % 4 * 2 + 1][lane / 4];
    words[i] = first | second << 16;
  }
}

/// The product of a warp, where `Type` says how two values are packed. Source of the fragments' layout: NVIDIA's PTX
/// ISA, section "Matrix Fragments for mma.m16n8k16 with floating point type".
template <class Type>
void multiplyInWarp(float (&sums)[4], const uint32 (&a)[4], uint32 b0, uint32 b1) {
  using Operands = std::array<uint32, 6>;
  const auto all = EmulatedBlock::running()->shareInWarp(Operands{a[0], a[1], a[2], a[3], b0, b1});
  const auto half = [](uint32 words, int index) { return index % 2 == 0 ? Type::first(words) : Type::second(words); };
  const int lane = threadIndex() % 32;
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8;
    const int column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < 16; ++k) {
      const Operands& ofRow = all[row % 8 * 4 + k % 8 / 2];
      const Operands& ofColumn = all[column * 4 + k % 8 / 2];
      sums[i] += half(ofRow[row / 8 + k / 8 * 2], k) * half(ofColumn[4 + k / 8], k);
    }
  }
}

inline uint32 bits(float value) {
  uint32 word = 0;
  std::memcpy(&word, &value, sizeof(word));
  return word;
}

inline float valueOf(uint32 word) {
  float value = 0;
  std::memcpy(&value, &word, sizeof(value));
  return value;
}

struct BFloat16 {
  static uint32 round(float value) { return (bits(value) + 0x7fff + (bits(value) >> 16 & 1)) >> 16; }
  static uint32 pack(float first, float second) { return round(first) | round(second) << 16; }
  static float first(uint32 words) { return valueOf(words << 16); }
  static float second(uint32 words) { return valueOf(words & 0xffff0000U); }
  static void multiply(float (&sums)[4], const uint32 (&a)[4], uint32 b0, uint32 b1) {
    multiplyInWarp<BFloat16>(sums, a, b0, b1);
  }
};

struct Float16 {
  static uint32 round(float value) { return c10::detail::fp16_ieee_from_fp32_value(value); }
  static float wide(uint32 word) { return c10::detail::fp16_ieee_to_fp32_value(static_cast<uint16_t>(word)); }
  static uint32 pack(float first, float second) { return round(first) | round(second) << 16; }
  static float first(uint32 words) { return wide(words & 0xffffU); }
  static float second(uint32 words) { return wide(words >> 16); }
  static uint32 add(uint32 a, uint32 b) { return pack(first(a) + first(b), second(a) + second(b)); }
  static void multiply(float (&sums)[4], const uint32 (&a)[4], uint32 b0, uint32 b1) {
    multiplyInWarp<Float16>(sums, a, b0, b1);
  }
};

}  // namespace segsam::cuda
