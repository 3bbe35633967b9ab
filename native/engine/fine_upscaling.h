#pragma once

#include <vector>

#include "engine/class_replacement.h"

namespace segsam {

/// What takes the place of the upscaling of decoders whose masks are fine (models/seg_sam/mask_upscaling.py), and of
/// the maps of prompts that it adds, on the CPU: images are rows of channels, transposed convolutions linear layers.
///
/// @param rounded whether products of convolutions take bfloat16, where the CPU multiplies it
std::vector<Replacement> fineUpscaling(bool rounded);

}  // namespace segsam
