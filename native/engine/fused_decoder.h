#pragma once

#include <torch/csrc/jit/api/module.h>

namespace segsam {

/// Lets the decoders of a module (models/seg_sam/two_way_transformer.py and mask_decoder.py) attend between tokens and
/// image by `attendImage` and `attendTokens`, and draw SAM's masks by `upscaleMasks`, before it is frozen.
/// Classes are known by their names, attributes, parts and signatures.
///
/// @param rounded whether products over the image take bfloat16
/// @return how many classes were changed; none where a module has no such classes, or others of that name, or where
///     the operators would not be faster
int64_t fuseDecoder(const torch::jit::Module& module, bool rounded);

}  // namespace segsam
