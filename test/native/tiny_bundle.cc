#include "tiny_bundle.h"

#include <torch/csrc/jit/api/module.h>

#include <ftw.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace {

torch::jit::Module encoder() {
  torch::jit::Module module("Encoder");
  // Stored in half precision, as a bundle may be.
  module.register_parameter("weight", at::full({1}, 0.5, at::kHalf), false);
  module.register_buffer("block", at::full({1}, 8, at::kLong));
  module.define(R"(
    def forward(self, image: Tensor) -> List[Tensor]:
        block = int(self.block)
        return [torch.avg_pool2d(image, [block, block]) * self.weight]
  )");
  return module;
}

torch::jit::Module textEncoder() {
  torch::jit::Module module("TextEncoder");
  module.register_buffer("scale", at::tensor({1.0f, 10.0f, 100.0f, 1000.0f}));
  module.define(R"(
    def forward(self, ids: Tensor, attention: Tensor) -> Tensor:
        attended = attention.float()
        mean = (ids.float() * attended).sum(1) / attended.sum(1)
        return mean.unsqueeze(1) * self.scale
  )");
  return module;
}

torch::jit::Module decoder() {
  torch::jit::Module module("Decoder");
  module.register_buffer("tokens", at::arange(4, at::kHalf));
  module.define(R"(
    def embed_classes(self, sentences: Tensor, valid: Tensor) -> Tensor:
        counted = valid.float().unsqueeze(-1)
        return (sentences * counted).sum(1) / counted.sum(1)

    def condition(self, features: List[Tensor], classes: Tensor) -> Tuple[Tensor, Tensor]:
        tokens = classes.unsqueeze(0) + features[0].mean()
        return tokens, tokens.mean(1, keepdim=True)

    def decode(self, features: List[Tensor], tokens: Tensor, summary: Tensor, points: Tensor, labels: Tensor,
               mask: Optional[Tensor]) -> Tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        prompts = points.size(0)
        value = points[:, 0, 0] - 10.0 * (labels[:, 0] == 0).float()
        if mask is not None:
            value = value + mask.mean(dim=[1, 2, 3])
        iou = value.unsqueeze(1) + self.tokens
        masks = iou.view(prompts, 4, 1, 1).expand(prompts, 4, 8, 8)
        semantic = value.view(prompts, 1, 1, 1).expand(prompts, 1, 8, 8)
        classes = torch.cat([tokens[0, :, 0], torch.zeros(1)]).unsqueeze(0).expand(prompts, -1)
        others = torch.stack([classes, -classes], 1)
        return masks, iou, semantic, classes, others
  )");
  return module;
}

}  // namespace

TinyBundle::TinyBundle() {
  std::string pattern = (std::filesystem::temp_directory_path() / "seg-sam-test-XXXXXX").string();
  folder_ = mkdtemp(pattern.data());
  encoder().save(folder_ + "/encoder.pt");
  decoder().save(folder_ + "/decoder.pt");
  textEncoder().save(folder_ + "/text_encoder.pt");
}

// Not by std::filesystem::remove_all, of which some versions of libtorch have a broken one.
TinyBundle::~TinyBundle() {
  nftw(
      folder_.c_str(), [](const char* path, const struct stat*, int, FTW*) { return remove(path); },
      /*nopenfd=*/4, FTW_DEPTH | FTW_PHYS);
}

segsam::ModelFiles TinyBundle::files() const {
  return {folder_ + "/encoder.pt", folder_ + "/decoder.pt", folder_ + "/text_encoder.pt"};
}

segsam::ModelOptions TinyBundle::options() {
  segsam::ModelOptions options;
  options.imageSize = 32;
  options.maskSize = 8;
  options.textWidth = 4;
  options.normalisation = {{0, 0, 0}, {1, 1, 1}};
  return options;
}
