#pragma once

#include <ATen/ATen.h>

inline double largestDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

/// Whether an operator raises an error of libtorch.
template <class Body>
bool refuses(const Body& body) {
  try {
    body();
    return false;
  } catch (const c10::Error&) {
    return true;
  }
}
