#pragma once

#include <ATen/ATen.h>

#include <algorithm>

namespace segsam {

/// A copy on `device` of values of the host, through page-locked memory, so that the host need not wait for it.
inline at::Tensor upload(const at::Tensor& host, at::Device device) {
  if (device.is_cpu()) return host;
  return host.pin_memory().to(device, /*non_blocking=*/true);
}

/// Writes all values, in float32, to an array of the host.
inline void download(const at::Tensor& values, float* target) {
  const at::Tensor onHost = values.to(at::kCPU, at::kFloat).contiguous();
  std::copy_n(onHost.const_data_ptr<float>(), onHost.numel(), target);
}

}  // namespace segsam
