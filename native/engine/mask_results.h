#pragma once

#include <cstdint>

#include "engine/decode_request.h"

namespace segsam {

/// Writes what follows from the masks of a request, once they are written as bits: how far they agree with the semantic
/// ones, and their bytes.
/// @param pixels of the original image
/// @param isNamed whether there are semantic masks
void writeMaskResults(const DecodeRequest& request, int64_t pixels, bool isNamed);

}  // namespace segsam
