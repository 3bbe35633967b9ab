#pragma once

#include <cmath>
#include <functional>
#include <iostream>
#include <string>

#include "error.h"

namespace check {

/// Registers a test; the name says what must hold.
struct Test {
  Test(std::string name, std::function<void()> body);
};

void fail(const char* file, int line, const std::string& message);

/// The code of the segsam::Error that `body` throws; empty where it throws none.
template <class Body>
std::string codeThrownBy(const Body& body) {
  try {
    body();
  } catch (const segsam::Error& error) {
    return error.code();
  }
  return "";
}

}  // namespace check

#define CHECK_JOIN_(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN_(a, b)

#define TEST(name)                                                                             \
  static void CHECK_JOIN(test, __LINE__)();                                                    \
  static const check::Test CHECK_JOIN(registered, __LINE__)(name, CHECK_JOIN(test, __LINE__)); \
  static void CHECK_JOIN(test, __LINE__)()

#define EXPECT(condition)                                          \
  do {                                                             \
    if (!(condition)) check::fail(__FILE__, __LINE__, #condition); \
  } while (false)

#define EXPECT_EQUAL(actual, expected)                                                                  \
  do {                                                                                                  \
    if (!((actual) == (expected))) check::fail(__FILE__, __LINE__, #actual " differs from " #expected); \
  } while (false)

#define EXPECT_NEAR(actual, expected, tolerance)                                                                   \
  do {                                                                                                             \
    const double check_actual = (actual);                                                                          \
    const double check_expected = (expected);                                                                      \
    if (!(std::abs(check_actual - check_expected) <= (tolerance)))                                                 \
      check::fail(__FILE__, __LINE__,                                                                              \
                  #actual " is " + std::to_string(check_actual) + ", expected " + std::to_string(check_expected)); \
  } while (false)

#define EXPECT_ERROR(code, expression) EXPECT_EQUAL(check::codeThrownBy([&] { (void)(expression); }), std::string(code))
