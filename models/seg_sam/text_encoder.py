"""The default bundle's own text encoder: small, trained on the class cards, then frozen.

Any Hugging Face text encoder can take its place; this one makes a bundle work without one.
"""

from torch import Tensor, nn
from torch.nn import functional as F


class TextEncoder(nn.Module):
    """Token ids to one vector a sentence: embeddings, a short transformer, mean over the tokens."""

    def __init__(self, vocabulary: int, width: int = 128, out: int = 256, depth: int = 2, length: int = 64) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(TextBlock(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.proj = nn.Linear(width, out)

    def forward(self, ids: Tensor, attention: Tensor) -> Tensor:
        """ids and attention (n, L) int64 to unit vectors (n, D)."""
        valid = attention > 0
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x, valid)
        weight = valid.unsqueeze(-1).to(x.dtype)
        mean = (self.norm(x) * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1.0)
        return F.normalize(self.proj(mean), dim=-1)


class TextBlock(nn.Module):
    def __init__(self, width: int, num_heads: int = 4) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.lin1 = nn.Linear(width, 4 * width)
        self.lin2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, length, 3, self.num_heads, width // self.num_heads)
        qkv = qkv.permute(2, 0, 3, 1, 4)
        mask = valid.unsqueeze(1).unsqueeze(1)
        attended = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], attn_mask=mask)
        x = x + self.proj(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.lin2(F.gelu(self.lin1(self.norm2(x))))
