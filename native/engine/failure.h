#pragma once

#include <string>

namespace segsam {

/// An exception, as JavaScript will see it.
struct Failure {
  const char* code;
  std::string message;
};

/// To be called within a catch block. What libtorch threw becomes RUNTIME, or OUT_OF_MEMORY where it ran out of memory,
/// with the first line that tells something and no C++ stack.
Failure describeCurrentException() noexcept;

std::string firstLine(const std::string& text);

}  // namespace segsam
