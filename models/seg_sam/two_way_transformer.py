"""SAM's two-way transformer: tokens attend to the image and the image to the tokens."""

from torch import Tensor, nn
from torch.nn import functional as F

from .layers import MlpBlock


class TwoWayTransformer(nn.Module):
    def __init__(self, width: int, num_heads: int, mlp_dim: int, depth: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(width, num_heads, mlp_dim, i == 0) for i in range(depth))
        self.final_attn_token_to_image = TokenAttention(width, num_heads, 2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, image: Tensor, image_pe: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """image (P or 1, H·W, C), image_pe (1, H·W, C), tokens (P, N, C); returns tokens and image of P prompts.

        An image that all prompts share is projected once in the first block.
        """
        queries, keys = tokens, image
        for layer in self.layers:
            queries, keys = layer(queries, keys, tokens, image_pe)
        attended = self.final_attn_token_to_image(queries + tokens, keys + image_pe, keys)
        return self.norm_final_attn(queries + attended), keys


class TwoWayBlock(nn.Module):
    def __init__(self, width: int, num_heads: int, mlp_dim: int, first: bool) -> None:
        super().__init__()
        self.self_attn = TokenAttention(width, num_heads, 1)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = TokenAttention(width, num_heads, 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MlpBlock(width, mlp_dim, relu=True)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = TokenAttention(width, num_heads, 2)
        self.first = first

    def forward(self, queries: Tensor, keys: Tensor, query_pe: Tensor, key_pe: Tensor) -> tuple[Tensor, Tensor]:
        if self.first:
            queries = self.self_attn(queries, queries, queries)
        else:
            q = queries + query_pe
            queries = queries + self.self_attn(q, q, queries)
        queries = self.norm1(queries)
        k = keys + key_pe
        queries = self.norm2(queries + self.cross_attn_token_to_image(queries + query_pe, k, keys))
        queries = self.norm3(queries + self.mlp(queries))
        keys = self.norm4(keys + self.cross_attn_image_to_token(k, queries + query_pe, queries))
        return queries, keys


class TokenAttention(nn.Module):
    """Attention whose inner width is the outer one divided by `downsample`. A batch of 1 serves that of the others."""

    def __init__(self, width: int, num_heads: int, downsample: int) -> None:
        super().__init__()
        inner = width // downsample
        self.num_heads = num_heads
        self.head_width = inner // num_heads
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        batch = max(q.shape[0], k.shape[0])
        out = F.scaled_dot_product_attention(
            self._heads(self.q_proj(q), batch), self._heads(self.k_proj(k), batch), self._heads(self.v_proj(v), batch)
        )
        return self.out_proj(out.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor, batch: int) -> Tensor:
        heads = x.reshape(x.shape[0], x.shape[1], self.num_heads, self.head_width).transpose(1, 2)
        return heads.expand(batch, -1, -1, -1)
