#include "check.h"

#include <exception>
#include <utility>
#include <vector>

namespace check {

namespace {

struct Registered {
  std::string name;
  std::function<void()> body;
};

std::vector<Registered>& tests() {
  static std::vector<Registered> instance;
  return instance;
}

int failures = 0;

}  // namespace

Test::Test(std::string name, std::function<void()> body) { tests().push_back({std::move(name), std::move(body)}); }

void fail(const char* file, int line, const std::string& message) {
  ++failures;
  std::cerr << "  " << file << ":" << line << ": " << message << "\n";
}

}  // namespace check

int main() {
  int failedTests = 0;
  for (const auto& test : check::tests()) {
    check::failures = 0;
    std::cerr << test.name << "\n";
    try {
      test.body();
    } catch (const std::exception& error) {
      check::fail(__FILE__, __LINE__, std::string("unexpected exception: ") + error.what());
    }
    if (check::failures > 0) ++failedTests;
  }
  std::cerr << check::tests().size() << " tests, " << failedTests << " failed\n";
  return failedTests == 0 && !check::tests().empty() ? 0 : 1;
}
