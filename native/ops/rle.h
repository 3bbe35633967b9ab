#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/bit_mask.h"

namespace segsam {

/// Run lengths as COCO defines them: column-major, alternating, the first run is background (and may be 0).
/// Source of the format: cocoapi, `common/maskApi.c`.
std::vector<uint32_t> encodeRle(const BitMask& mask);

/// @param pixels (height, width), written whole
/// @throws Error INVALID_ARGUMENT where the runs do not add up to width * height
void decodeRle(const std::vector<uint32_t>& counts, int64_t width, int64_t height, uint8_t* pixels);

/// COCO's compressed string: from the fourth run on the difference to the run two before, in groups of five bits.
std::string compressRle(const std::vector<uint32_t>& counts);

/// @throws Error INVALID_ARGUMENT for text that `compressRle` cannot have made
std::vector<uint32_t> decompressRle(const std::string& text);

}  // namespace segsam
