#include "engine/fine_upscaling.h"

#include <algorithm>
#include <vector>

namespace segsam {

namespace {

/// Of rows (P, H * W, C), with the groups and epsilon of `isNorm`.
constexpr const char* kResidualConvs = R"(
def fused_add(self, x: Tensor, width: int) -> Tensor:
    norm1 = self.norm1
    conv1 = self.conv1
    norm2 = self.norm2
    conv2 = self.conv2
    bias1 = conv1.bias
    bias2 = conv2.bias
    assert bias1 is not None and bias2 is not None
    return fused.add_convolutions(x, width, norm1.weight, norm1.bias, conv1.weight, bias1, norm2.weight, norm2.bias,
                                  conv2.weight, bias2, 8, 1e-5, ROUNDED)
)";

constexpr const char* kFineUpscaling = R"(
def fused_rows(self, image: Tensor) -> Tensor:
    return image.flatten(2).transpose(1, 2)

def fused_pixels_alike(self, image: Tensor, focus: Tensor) -> Tensor:
    pixels = self.fused_rows(image)
    weight = focus.reshape(image.size(0), -1, pixels.size(1))
    prototype = torch.bmm(weight, pixels) / (weight.sum(2, keepdim=True) + 1e-3)
    prototype = self.prototype_norm.forward(prototype)
    kernel = self.skip_map.weight + self.alike.weight * prototype.unsqueeze(2)
    return torch.matmul(pixels.unsqueeze(1), kernel.transpose(2, 3)).flatten(0, 1)

def fused_forward(self, x: Tensor, features: List[Tensor], maps: List[Tensor]) -> Tensor:
    side = x.size(3)
    up8, up4, up2 = self.up8.bias, self.up4.bias, self.up2.bias
    skip8, skip4, skip2 = self.skip8.bias, self.skip4.bias, self.skip2.bias
    assert up8 is not None and up4 is not None and up2 is not None
    assert skip8 is not None and skip4 is not None and skip2 is not None
    added8: Optional[Tensor] = None
    added4: Optional[Tensor] = None
    if len(maps) > 0:
        added8 = self.fused_rows(maps[1])
        added4 = self.fused_rows(maps[2]) + self.fused_pixels_alike(features[4], maps[3])
    rows = fused.upscale_rows(self.fused_rows(x), side, self.up8.weight, up8, None, None, 0.0, features[1],
                              self.skip8.weight, skip8, added8, False, ROUNDED)
    rows = self.convs8.fused_add(rows, 2 * side)
    rows = fused.upscale_rows(rows, 2 * side, self.up4.weight, up4, None, None, 0.0, features[2], self.skip4.weight,
                              skip4, added4, False, ROUNDED)
    rows = self.convs4.fused_add(rows, 4 * side)
    rows = fused.upscale_rows(rows, 4 * side, self.up2.weight, up2, self.norm.weight, self.norm.bias, self.norm.eps,
                              features[3], self.skip2.weight, skip2, None, True, ROUNDED)
    return rows.reshape(rows.size(0), 8 * side, 8 * side, -1).permute(0, 3, 1, 2)
)";

/// The maps' channels lie side by side, as rows have them: memory format 2 is torch.channels_last.
constexpr const char* kPromptRaster = R"(
def fused_forward(self, points: Tensor, labels: Tensor, mask: Optional[Tensor]) -> List[Tensor]:
    drawn = self.draw(points, labels, mask)
    stride4 = self.stride4.forward(drawn.contiguous(memory_format=2))
    stride8 = self.stride8.forward(stride4)
    return [self.stride16.forward(stride8), stride8, stride4, self.focus(drawn)]
)";

bool isNorm(const torch::jit::Module& layer) {
  const auto groups = constantOf(layer, c10::aten::group_norm, "num_groups");
  const auto epsilon = constantOf(layer, c10::aten::group_norm, "eps");
  return groups && epsilon && groups->toInt() == 8 && epsilon->toDouble() == 1e-5;
}

/// Of the kernel's size, with as much around the image.
bool isConvolution(const torch::jit::Module& layer) {
  const auto has = [&](const char* argument, int64_t value) {
    const auto found = constantOf(layer, c10::aten::conv2d, argument);
    if (!found || !found->isIntList()) return false;
    const std::vector<int64_t> values = found->toIntVector();
    return std::all_of(values.begin(), values.end(), [&](int64_t one) { return one == value; });
  };
  const auto groups = constantOf(layer, c10::aten::conv2d, "groups");
  return has("stride", 1) && has("padding", 1) && has("dilation", 1) && groups && groups->toInt() == 1;
}

bool isAsWritten(const torch::jit::Module& part) {
  const auto layer = [&](const char* name) { return part.attr(name).toModule(); };
  return isNorm(layer("norm1")) && isNorm(layer("norm2")) && isConvolution(layer("conv1")) &&
         isConvolution(layer("conv2"));
}

}  // namespace

std::vector<Replacement> fineUpscaling(bool rounded) {
  const auto written = [&](const char* source) { return withText(source, "ROUNDED", rounded ? "True" : "False"); };
  return {
      {"ResidualConvs", {"norm1", "conv1", "norm2", "conv2"}, written(kResidualConvs), isAsWritten},
      {"FineUpscaling",
       {"up8", "up4", "up2", "skip8", "skip4", "skip2", "skip_map", "alike", "prototype_norm", "convs8", "convs4",
        "norm"},
       written(kFineUpscaling)},
      {"PromptRaster", {"stride4", "stride8", "stride16"}, kPromptRaster},
  };
}

}  // namespace segsam
