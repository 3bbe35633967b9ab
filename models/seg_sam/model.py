"""SEG-SAM assembled.

image ──encoder──► f_v ──┬────────────► Dec_sag ──► binary masks, predicted IoU
prompts ──encoder──► t_p ─┤
class cards ──text─► text-to-vision ──► t_text, class tokens ──► Dec_saw ──► semantic mask, classes
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .config import Config
from .image_encoder import ImageEncoder
from .mask_decoder import MaskDecoder
from .prompt_encoder import PromptEncoder
from .semantic_decoder import SemanticDecoder
from .text_to_vision import TextToVision


class Decoded(NamedTuple):
    """What both decoders say of P prompts; K classes, T CO-tokens, h the side of the mask grid."""

    logits: Tensor  # (P, 4, h, h)
    iou: Tensor  # (P, 4)
    semantic_logits: Tensor  # (P, 1, h, h)
    so_logits: Tensor  # (P, K + 1)
    co_logits: Tensor  # (P, T, K + 1)


class SegSam(nn.Module):
    """Attribute names `image_encoder`, `prompt_encoder` and `mask_decoder` are SAM's, so that its weights load."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = ImageEncoder(config)
        self.prompt_encoder = PromptEncoder(config)
        self.mask_decoder = MaskDecoder(config)
        self.semantic = config.semantic
        if config.semantic != "none":
            self.text_to_vision = TextToVision(config)
            self.semantic_decoder = SemanticDecoder(config)
        if config.semantic == "shared":
            self.semantic_decoder.transformer = self.mask_decoder.transformer
            self.semantic_decoder.output_upscaling = self.mask_decoder.output_upscaling
        self.image_encoder.apply(_initialise)

    def decoder(self) -> "PromptDecoder":
        """ValueError without a semantic-aware decoder: that ablation can be trained and measured, but not exported."""
        if self.semantic == "none":
            raise ValueError(
                "this model was made with semantic='none': without a semantic-aware decoder there is no bundle of it; "
                "train with --semantic independent or shared"
            )
        return PromptDecoder(self)

    def decoder_to_measure(self) -> "PromptDecoder | BinaryDecoder":
        """What `evaluation.evaluate` takes."""
        return BinaryDecoder(self) if self.semantic == "none" else self.decoder()


class PromptDecoder(nn.Module):
    """Everything that runs for each prompt: the part of a bundle called `decoder.pt`."""

    def __init__(self, model: SegSam) -> None:
        super().__init__()
        self.prompt_encoder = model.prompt_encoder
        self.mask_decoder = model.mask_decoder
        self.text_to_vision = model.text_to_vision
        self.semantic_decoder = model.semantic_decoder

    @torch.jit.export
    def embed_classes(self, sentences: Tensor, valid: Tensor) -> Tensor:
        return self.text_to_vision.embed_classes(sentences, valid)

    @torch.jit.export
    def condition(self, features: list[Tensor], class_vectors: Tensor) -> tuple[Tensor, Tensor]:
        return self.text_to_vision.condition(features[0], self.prompt_encoder.image_positions(), class_vectors)

    @torch.jit.export
    def decode(
        self,
        features: list[Tensor],
        class_tokens: Tensor,
        text_summary: Tensor,
        points: Tensor,
        labels: Tensor,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """points (B·P, N, 2), labels (B·P, N), mask (B·P, 1, h, h) or None, for features of B images."""
        sparse, dense, maps = self.prompt_encoder(points, labels, mask)
        image_pe = self.prompt_encoder.image_positions()
        logits, iou = self.mask_decoder(features, image_pe, sparse, dense, maps)
        semantic_logits, so, co = self.semantic_decoder(
            features, image_pe, sparse, dense, maps, class_tokens, text_summary
        )
        return logits, iou, semantic_logits, so, co

    @torch.jit.export
    def decode_binary(
        self, features: list[Tensor], points: Tensor, labels: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The first two of `decode`, by Dec_sag alone."""
        sparse, dense, maps = self.prompt_encoder(points, labels, mask)
        return self.mask_decoder(features, self.prompt_encoder.image_positions(), sparse, dense, maps)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return features


class BinaryDecoder(nn.Module):
    """Dec_sag alone, called as `PromptDecoder` is, where there is no semantic-aware decoder."""

    def __init__(self, model: SegSam) -> None:
        super().__init__()
        self.prompt_encoder = model.prompt_encoder
        self.mask_decoder = model.mask_decoder

    def embed_classes(self, sentences: Tensor, valid: Tensor) -> None:
        return None

    def condition(self, features: list[Tensor], class_vectors: None) -> tuple[None, None]:
        return None, None

    def decode(
        self,
        features: list[Tensor],
        class_tokens: None,
        text_summary: None,
        points: Tensor,
        labels: Tensor,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor, None, None, None]:
        sparse, dense, maps = self.prompt_encoder(points, labels, mask)
        logits, iou = self.mask_decoder(features, self.prompt_encoder.image_positions(), sparse, dense, maps)
        return logits, iou, None, None, None


def _initialise(module: nn.Module) -> None:
    """As vision transformers begin; the decoders keep PyTorch's wider defaults, as in SAM: they learn sooner so."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
