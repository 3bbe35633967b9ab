#pragma once

/// What the kernels of this folder are written in: the threads of a block, its warps' matrix products and copies. A
/// kernel includes nothing else, so that the GPU's run-time compiler needs no header of CUDA, and that
/// `test/native/emulated_warp.h`, which has all of this for the CPU, can run it without a GPU.
/// Source of the instructions: NVIDIA's PTX ISA, sections "Warp Level Matrix Multiply-Accumulate Instructions" and
/// "Data Movement and Conversion Instructions: Asynchronous copy". Compute capability 8.0 and later have them.

#include "cuda/arguments.h"

namespace segsam::cuda {

/// e^x is 2^(x * log2(e)).
constexpr float kLog2OfE = 1.44269504088896340736f;

}  // namespace segsam::cuda

#if defined(SEG_SAM_EMULATED_WARP)
#include SEG_SAM_EMULATED_WARP
#else

#define SEG_SAM_DEVICE __device__ __forceinline__
/// Before a loop that is written out, and one that is not.
#define SEG_SAM_UNROLL _Pragma("unroll")
#define SEG_SAM_LOOP _Pragma("unroll 1")

namespace segsam::cuda {

/// 16 bytes.
struct alignas(16) Vector {
  uint32 words[4];
};

struct alignas(8) TwoFloats {
  float values[2];
};

struct alignas(16) FourFloats {
  float values[4];
};

/// A block has 1024 at most; that this is no negative number makes divisions by powers of two shorter.
SEG_SAM_DEVICE int threadIndex() { return static_cast<int>(threadIdx.x & 1023); }
SEG_SAM_DEVICE int blockX() { return static_cast<int>(blockIdx.x); }
SEG_SAM_DEVICE int blockY() { return static_cast<int>(blockIdx.y); }
SEG_SAM_DEVICE int blockZ() { return static_cast<int>(blockIdx.z); }

/// The value in a register, instead of computed again at each use.
SEG_SAM_DEVICE int kept(int value) {
  asm volatile("" : "+r"(value));
  return value;
}

SEG_SAM_DEVICE void synchroniseBlock() { __syncthreads(); }

/// The value of the lane whose index differs in the bits of `mask`.
SEG_SAM_DEVICE float exchange(float value, int mask) { return __shfl_xor_sync(0xffffffffU, value, mask); }

/// The bit of each lane's index: whether its value is true.
SEG_SAM_DEVICE uint32 ballot(bool value) { return __ballot_sync(0xffffffffU, value); }

/// a * b, which is not made one step with what it is added to.
SEG_SAM_DEVICE float roundedProduct(float a, float b) { return __fmul_rn(a, b); }

/// Whether a lane's is true.
SEG_SAM_DEVICE bool anyInWarp(bool value) { return __any_sync(0xffffffffU, value); }

SEG_SAM_DEVICE float powerOfTwo(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

SEG_SAM_DEVICE float inverseRoot(float x) {
  float result;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

/// The error function, as GELU takes it.
SEG_SAM_DEVICE float errorFunction(float x) { return erff(x); }

SEG_SAM_DEVICE float sine(float x) { return sinf(x); }
SEG_SAM_DEVICE float cosine(float x) { return cosf(x); }

SEG_SAM_DEVICE float hyperbolicTangent(float x) {
  float result;
  asm("tanh.approx.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

/// Where values lie in shared memory: a number of half the width of a pointer, which is what addresses are computed in.
struct SharedValues {
  uint32 address;
  SEG_SAM_DEVICE SharedValues operator+(int values) const {
    return {address + static_cast<uint32>(values) * static_cast<uint32>(sizeof(uint16))};
  }
};

SEG_SAM_DEVICE SharedValues inShared(const uint16* values) {
  unsigned long long address;
  asm("cvta.to.shared.u64 %0, %1;" : "=l"(address) : "l"(values));
  return {static_cast<uint32>(address)};
}

SEG_SAM_DEVICE uint32 loadHalf(SharedValues value) {
  uint16 half;
  asm volatile("ld.shared.u16 %0, [%1];" : "=h"(half) : "r"(value.address) : "memory");
  return half;
}

/// Two values.
SEG_SAM_DEVICE uint32 loadWord(SharedValues values) {
  uint32 word;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(word) : "r"(values.address) : "memory");
  return word;
}

/// Begins to copy 16 bytes of global memory to shared memory, or to write zeros there.
SEG_SAM_DEVICE void copyAsync(SharedValues target, const void* global, bool isThere) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target.address), "l"(global), "r"(isThere ? 16 : 0)
               : "memory");
}

/// Ends a group of copies.
SEG_SAM_DEVICE void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until all groups of copies but the last `Pending` are there, for the thread that began them.
template <int Pending>
SEG_SAM_DEVICE void waitForCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

/// Four matrices of 8 x 8 halves, lanes 8 i to 8 i + 7 giving the rows of the i-th: `words[i]` holds two values of its
/// row lane / 4.
SEG_SAM_DEVICE void loadMatrices(uint32 (&words)[4], SharedValues row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(row.address)
               : "memory");
}

/// The same of the matrices' columns.
SEG_SAM_DEVICE void loadTransposed(uint32 (&words)[4], SharedValues row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(row.address)
               : "memory");
}

struct BFloat16 {
  /// Two values, the first in the lower half.
  static SEG_SAM_DEVICE uint32 pack(float first, float second) {
    uint32 words;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(words) : "f"(second), "f"(first));
    return words;
  }
  static SEG_SAM_DEVICE float first(uint32 words) { return __uint_as_float(words << 16); }
  static SEG_SAM_DEVICE float second(uint32 words) { return __uint_as_float(words & 0xffff0000U); }
  /// sums (16 x 8) += a (16 x 16) b (16 x 8).
  static SEG_SAM_DEVICE void multiply(float (&sums)[4], const uint32 (&a)[4], uint32 b0, uint32 b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
        "%2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
};

struct Float16 {
  static SEG_SAM_DEVICE uint32 pack(float first, float second) {
    uint32 words;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(words) : "f"(second), "f"(first));
    return words;
  }
  static SEG_SAM_DEVICE float first(uint32 words) {
    float value;
    asm("{.reg .f16 low, high; mov.b32 {low, high}, %1; cvt.f32.f16 %0, low;}" : "=f"(value) : "r"(words));
    return value;
  }
  static SEG_SAM_DEVICE float second(uint32 words) {
    float value;
    asm("{.reg .f16 low, high; mov.b32 {low, high}, %1; cvt.f32.f16 %0, high;}" : "=f"(value) : "r"(words));
    return value;
  }
  /// The sums of both values.
  static SEG_SAM_DEVICE uint32 add(uint32 a, uint32 b) {
    uint32 words;
    asm("add.rn.f16x2 %0, %1, %2;" : "=r"(words) : "r"(a), "r"(b));
    return words;
  }
  static SEG_SAM_DEVICE void multiply(float (&sums)[4], const uint32 (&a)[4], uint32 b0, uint32 b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
        "%2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
};

}  // namespace segsam::cuda

#endif
