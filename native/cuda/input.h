#pragma once

#include <ATen/ATen.h>

#include <string>

#include "engine/image.h"

namespace segsam {

/// Whether `inputOnCuda` can make an input of that type from the image; compiles what it needs.
bool makesInputOnCuda(at::Device device, const Image& image, const Frame& frame, at::ScalarType type);

/// Why it cannot from 8-bit pixels, on a CUDA device; empty where it can.
std::string whyNoInput(at::Device device, at::ScalarType type);

/// As `toInputOn`, by one kernel where the image needs no resizing, else by two and libtorch's resizing.
/// @param pixels of the image, on the device
/// @param type float32, bfloat16 or float16
/// @return (3, side, side)
at::Tensor inputOnCuda(const at::Tensor& pixels, const Image& image, const Frame& frame,
                       const Normalisation& normalisation, at::ScalarType type);

}  // namespace segsam
