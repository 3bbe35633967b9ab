#pragma once

#include <string>

#include "engine/model.h"

/// A bundle of TorchScript modules with the signatures of docs/bundle.md and arithmetic simple enough to redo by hand,
/// written to a temporary folder that is removed with the object. S = 32, h = 8, D = 4.
///
/// - encoder: each 8 x 8 block's mean, times a weight of 0.5: (B, 3, 4, 4)
/// - text encoder: a token's number, 10 times it, ... averaged over the attended tokens: (n, 4)
/// - embed_classes: the mean of the valid sentences; condition: plus the features' mean
/// - decode: mask token i is everywhere x + i of the first point, minus 10 with a background label, plus the mean of
///   the mask prompt
class TinyBundle {
 public:
  TinyBundle();
  TinyBundle(const TinyBundle&) = delete;
  TinyBundle& operator=(const TinyBundle&) = delete;
  ~TinyBundle();

  segsam::ModelFiles files() const;
  static segsam::ModelOptions options();

  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
};
