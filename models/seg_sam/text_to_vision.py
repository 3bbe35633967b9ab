"""Text-to-vision semantic module: adapts the class cards' language to the image.

The paper has it adapt language to the visual task and give a text summary token to the visual prompts; how it is built
here (pooling, cross-attention to the image, one learned query) is our decision.
"""

import torch
from torch import Tensor, nn

from .config import Config
from .layers import MlpBlock
from .mask_decoder import to_tokens
from .two_way_transformer import TokenAttention


class TextToVision(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.prompt_dim
        self.enabled = config.text_to_vision
        self.sentence_score = nn.Linear(config.text_width, 1)
        self.proj = nn.Sequential(nn.Linear(config.text_width, width), nn.GELU(), nn.Linear(width, width))
        self.norm_class = nn.LayerNorm(width)
        self.cross_attn = TokenAttention(width, config.decoder_heads, 2)
        self.norm_attn = nn.LayerNorm(width)
        self.mlp = MlpBlock(width, 2 * width)
        self.norm_mlp = nn.LayerNorm(width)
        self.summary_query = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.summary_attn = TokenAttention(width, config.decoder_heads, 2)
        self.norm_summary = nn.LayerNorm(width)
        # Ablation only: classes without text.
        self.class_table = nn.Embedding(max(config.num_classes, 1), width)

    def embed_classes(self, sentences: Tensor, valid: Tensor) -> Tensor:
        """Attention-pools sentence embeddings (K, M, D), where `valid` (K, M) says which exist, to vectors (K, C)."""
        if not self.enabled:
            classes = self.class_table.weight.shape[0]
            if sentences.shape[0] != classes:
                raise ValueError(
                    f"trained without text: takes all of its {classes} classes in their order, not {sentences.shape[0]}"
                )
            return self.class_table.weight
        # A number that float16 can hold.
        score = self.sentence_score(sentences).squeeze(-1).masked_fill(~valid, -1e4)
        pooled = (score.softmax(dim=1).unsqueeze(-1) * sentences).sum(dim=1)
        return self.norm_class(self.proj(pooled))

    def condition(self, embedding: Tensor, image_pe: Tensor, class_vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Class vectors (K, C) with embeddings (B, C, H, W) to class tokens (B, K, C) and summary tokens (B, 1, C).

        A class token depends on its own card and the image alone, not on which other classes are asked for.
        """
        batch = embedding.shape[0]
        tokens = class_vectors.unsqueeze(0).expand(batch, -1, -1)
        if not self.enabled:
            return tokens, torch.zeros_like(tokens[:, :1])
        image = to_tokens(embedding)
        tokens = self.norm_attn(tokens + self.cross_attn(tokens, image + to_tokens(image_pe), image))
        tokens = self.norm_mlp(tokens + self.mlp(tokens))
        query = self.summary_query.expand(batch, -1, -1)
        summary = self.norm_summary(query + self.summary_attn(query, tokens, tokens))
        return tokens, summary
