#pragma once

#include <torch/csrc/jit/api/module.h>

#include <string>

namespace segsam {

/// Lets the blocks of an image encoder (models/seg_sam/image_encoder.py) compute by `addAttention` and `addMlp`, before
/// it is frozen. Their weights are packed when it is. On CUDA the patches are embedded by a product of matrices, too.
///
/// @param device that the module shall run on
/// @param type of the module's weights
/// @param failure set to why kernels of a GPU that the blocks are fit for cannot be compiled or run, where that is so
/// @return how many classes were changed; none where a module has no such classes, or others of that name, or where
///     the operators would not be faster
int64_t fuseEncoder(const torch::jit::Module& module, at::Device device, at::ScalarType type,
                    std::string* failure = nullptr);

/// The same with the linear layers of the blocks in 8 bits, whose weights are quantised now: before the others are
/// converted, which the blocks take in any type. Only where the processor multiplies bytes.
///
/// @return how many classes were changed
int64_t fuseEncoderInBytes(const torch::jit::Module& module);

}  // namespace segsam
