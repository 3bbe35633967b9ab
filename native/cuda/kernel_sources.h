#pragma once

#include <vector>

namespace segsam {

/// A file of this folder that kernels are made of, as it is compiled when they are needed.
struct KernelSource {
  const char* name;
  const char* text;
};

const std::vector<KernelSource>& kernelSources();

}  // namespace segsam
