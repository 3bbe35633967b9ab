#pragma once

#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <string>
#include <vector>

#include "engine/class_replacement.h"

namespace segsam {

/// Lets the decoders of a module (models/seg_sam/two_way_transformer.py, mask_decoder.py and semantic_decoder.py)
/// attend between tokens and image by `attendImage` and `attendBoth`, and draw SAM's masks by `upscaleMasks`, before
/// it is frozen. Classes are known by their names, attributes, parts and signatures.
///
/// On the CPU, a module whose decoders draw as SAM does also gets the method `fused_share`, from the features of an
/// image, and whether for both decoders, to those that may be given in their place: with what the first layers make of
/// the image whatever the prompts are, for `attendShared`.
///
/// On CUDA, where products are rounded, the weights of their transformers, upscaling and mask vectors become float16.
///
/// @param module a copy takes its place on CUDA
/// @param device where the module is to run
/// @param rounded whether products over the image take fewer bits than float32
/// @param failure set to why a GPU that the decoders fit does not compute so, where it is not null
/// @return how many classes were changed; none where a module has no such classes, or others of that name, or where
///     the operators would not be faster
int64_t fuseDecoder(torch::jit::Module& module, at::Device device, bool rounded, std::string* failure = nullptr);

/// What replaces the decoders' classes on CUDA, with tokens and image of `type`: float16, or float32 for tests without
/// a GPU.
std::vector<Replacement> decoderOfCuda(at::ScalarType type);

}  // namespace segsam
