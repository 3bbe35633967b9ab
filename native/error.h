#pragma once

#include <stdexcept>
#include <string>

namespace segsam {

/// What went wrong, as the caller in JavaScript sees it: `code` is one of the strings below, verbatim.
class Error : public std::runtime_error {
 public:
  Error(const char* code, const std::string& message) : std::runtime_error(message), code_(code) {}

  const char* code() const { return code_; }

 private:
  const char* code_;
};

inline constexpr const char* kInvalidArgument = "INVALID_ARGUMENT";
inline constexpr const char* kInvalidImage = "INVALID_IMAGE";
inline constexpr const char* kInvalidPrompt = "INVALID_PROMPT";
inline constexpr const char* kBundleInvalid = "BUNDLE_INVALID";
inline constexpr const char* kDeviceUnavailable = "DEVICE_UNAVAILABLE";
inline constexpr const char* kOutOfMemory = "OUT_OF_MEMORY";
inline constexpr const char* kDisposed = "DISPOSED";
inline constexpr const char* kAborted = "ABORTED";
inline constexpr const char* kQueueFull = "QUEUE_FULL";
inline constexpr const char* kDeadlineExceeded = "DEADLINE_EXCEEDED";
inline constexpr const char* kRuntime = "RUNTIME";

}  // namespace segsam
