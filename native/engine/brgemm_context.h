#pragma once

#include <ATen/native/CPUBlas.h>

namespace segsam {

/// While it lives, a thread may call brgemm; then oneDNN's hold of the thread's tile registers ends, however that was.
class BrgemmContext {
 public:
  /// @param packed whether the calls take packed bfloat16
  explicit BrgemmContext(bool packed) : packed_(packed) {}
  BrgemmContext(const BrgemmContext&) = delete;
  BrgemmContext& operator=(const BrgemmContext&) = delete;
  ~BrgemmContext() { at::native::cpublas::brgemm_release(packed_); }

 private:
  bool packed_;
};

/// Whether oneDNN multiplies packed bfloat16 here, with instructions for it; it can be told to leave out some
/// (ONEDNN_MAX_CPU_ISA).
bool multipliesPackedBf16();

}  // namespace segsam
