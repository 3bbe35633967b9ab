#pragma once

#include <ATen/ATen.h>

namespace segsam {

/// A copy on `device` of values of the host, through page-locked memory, so that the host need not wait for it.
inline at::Tensor upload(const at::Tensor& host, at::Device device) {
  if (device.is_cpu()) return host;
  return host.pin_memory().to(device, /*non_blocking=*/true);
}

}  // namespace segsam
