#include "engine/failure.h"

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <sstream>

#include "error.h"

namespace segsam {

namespace {

/// libtorch's own allocator reports a lack of memory with a plain error.
bool tellsOfMemory(const std::string& text) {
  return text.find("not enough memory") != std::string::npos || text.find("out of memory") != std::string::npos ||
         text.find("can't allocate memory") != std::string::npos;
}

/// TorchScript's interpreter puts the cause last, after a trace through the module's source.
std::string cause(const std::string& text) {
  static const std::string kMarker = "RuntimeError: ";
  const size_t marker = text.rfind(kMarker);
  return firstLine(marker == std::string::npos ? text : text.substr(marker + kMarker.size()));
}

}  // namespace

std::string firstLine(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.find_first_not_of(" \t\r") != std::string::npos) return line;
  }
  return "no message";
}

Failure describeCurrentException() noexcept {
  try {
    try {
      throw;
    } catch (const Error& error) {
      return {error.code(), error.what()};
    } catch (const c10::OutOfMemoryError& error) {
      return {kOutOfMemory, firstLine(error.what_without_backtrace())};
    } catch (const c10::Error& error) {
      const std::string text = error.what_without_backtrace();
      return {tellsOfMemory(text) ? kOutOfMemory : kRuntime, cause(text)};
    } catch (const std::bad_alloc&) {
      return {kOutOfMemory, "Not enough memory"};
    } catch (const std::exception& error) {
      const std::string text = error.what();
      return {tellsOfMemory(text) ? kOutOfMemory : kRuntime, cause(text)};
    } catch (...) {
      return {kRuntime, "An unknown exception"};
    }
  } catch (...) {
    return {kOutOfMemory, std::string()};
  }
}

}  // namespace segsam
