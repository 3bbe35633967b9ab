#include "engine/brgemm_context.h"

#include <exception>
#include <vector>

#include "engine/device.h"

namespace segsam {

bool multipliesPackedBf16() {
  static const bool works = [] {
    if (bf16Instructions().empty()) return false;
    const std::vector<c10::BFloat16> a(2, 1.0f);
    const std::vector<c10::BFloat16> b = {1.0f, 2.0f, 3.0f, 4.0f};
    std::vector<float> product(2);
    try {
      const BrgemmContext context(/*packed=*/true);
      at::native::cpublas::brgemm(1, 2, 2, 2, 2, 2, false, a.data(), b.data(), product.data(), /*is_vnni=*/true);
    } catch (const std::exception&) {
      return false;
    }
    return product == std::vector<float>{3.0f, 7.0f};
  }();
  return works;
}

}  // namespace segsam
