import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seg_sam.config import SIZES
from seg_sam.image_encoder import (
    Adapter,
    Attention,
    Block,
    ImageEncoder,
    attend_folded,
    attend_masked,
    join_windows,
    partition_windows,
)
from synthetic import MICRO, MICRO_SAM


def plain_attention(attention: Attention, x: torch.Tensor) -> torch.Tensor:
    """SAM's attention of one (H, W, C) grid, pair by pair, with the bias q·R_h + q·R_w written out."""
    height, width, channels = x.shape
    heads, size = attention.num_heads, channels // attention.num_heads
    positions = [(i, j) for i in range(height) for j in range(width)]
    qkv = attention.qkv(x).reshape(len(positions), 3, heads, size)
    out = torch.empty(len(positions), heads, size)
    for head in range(heads):
        q, k, v = qkv[:, 0, head], qkv[:, 1, head], qkv[:, 2, head]
        score = torch.empty(len(positions), len(positions))
        for a, (row, column) in enumerate(positions):
            for b, (other_row, other_column) in enumerate(positions):
                r_h = attention.rel_pos_h[row - other_row + height - 1]
                r_w = attention.rel_pos_w[column - other_column + width - 1]
                score[a, b] = (q[a] @ k[b]) / size**0.5 + q[a] @ r_h + q[a] @ r_w
        out[:, head] = score.softmax(dim=1) @ v
    return attention.proj(out.reshape(height, width, channels))


@pytest.mark.parametrize("span", [512, 100, 24])
def test_both_ways_to_add_the_bias_agree_however_the_queries_are_parted(span):
    height, width, generator = 12, 20, torch.Generator().manual_seed(5)
    q, k, v = (torch.randn(2, 3, height * width, 8, generator=generator) for _ in range(3))
    bias_h = torch.randn(2, 3, height * width, height, generator=generator)
    bias_w = torch.randn(2, 3, height * width, width, generator=generator)
    folded = attend_folded(q, k, v, bias_h, bias_w, 0.3)
    torch.testing.assert_close(attend_masked(q, k, v, bias_h, bias_w, 0.3, span), folded, rtol=0, atol=1e-5)


def random_positions(attention: Attention) -> None:
    nn.init.normal_(attention.rel_pos_h)
    nn.init.normal_(attention.rel_pos_w)


@torch.no_grad()
def test_global_attention_is_that_with_an_explicit_bias():
    torch.manual_seed(0)
    attention = Attention(8, 2, 5)
    random_positions(attention)
    x = torch.randn(2, 5, 5, 8)
    expected = torch.stack([plain_attention(attention, item) for item in x])
    assert (attention(x) - expected).abs().max() < 1e-5
    unbiased = Attention(8, 2, 5)
    unbiased.load_state_dict({**attention.state_dict(), "rel_pos_h": torch.zeros(9, 4), "rel_pos_w": torch.zeros(9, 4)})
    assert (unbiased(x) - expected).abs().max() > 1e-2, "the bias hardly matters here: nothing would be shown"


@torch.no_grad()
def test_windowed_block_attends_within_zero_padded_windows():
    torch.manual_seed(1)
    block = Block(8, 2, window=3, grid=7, adapter=False)
    random_positions(block.attn)
    x = torch.randn(1, 7, 5, 8)
    z = F.pad(block.norm1(x)[0], (0, 0, 0, 1, 0, 2))
    attended = torch.empty_like(z)
    for row in range(0, 9, 3):
        for column in range(0, 6, 3):
            window = z[row : row + 3, column : column + 3]
            attended[row : row + 3, column : column + 3] = plain_attention(block.attn, window)
    y = x[0] + attended[:7, :5]
    expected = y + block.mlp.lin2(F.gelu(block.mlp.lin1(block.norm2(y))))
    assert (block(x)[0] - expected).abs().max() < 1e-5


def test_windows_are_joined_where_they_were_cut():
    x = torch.arange(2 * 7 * 5).reshape(2, 7, 5, 1).float()
    windows = partition_windows(x, 3)
    assert windows.shape == (2 * 3 * 2, 3, 3, 1)
    assert torch.equal(join_windows(windows, 3, 7, 5), x)


@torch.no_grad()
def test_adapter_follows_its_formula():
    """A(z) = LayerNorm(z + S(g * z)), g = sigmoid(W2 relu(W1 mean(z))), each step by elementary operations."""
    torch.manual_seed(2)
    width, height, columns = 8, 6, 4
    adapter = Adapter(width)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter, std=0.5)
    z = torch.randn(1, height, columns, width)
    mean = z[0].reshape(-1, width).mean(dim=0)
    gate = 1 / (1 + (-(adapter.channel[2].weight @ (adapter.channel[0].weight @ mean).clamp(min=0))).exp())
    gated = z[0] * gate
    down_kernel, up_kernel = adapter.spatial[0].weight, adapter.spatial[2].weight
    down = torch.zeros(height // 2, columns // 2, width)
    for i in range(height // 2):
        for j in range(columns // 2):
            for a in range(3):
                for b in range(3):
                    y, x = 2 * i + a - 1, 2 * j + b - 1
                    if 0 <= y < height and 0 <= x < columns:
                        down[i, j] += down_kernel[:, :, a, b] @ gated[y, x]
    down = down.clamp(min=0)
    up = torch.zeros(height, columns, width)
    for i in range(height // 2):
        for j in range(columns // 2):
            for a in range(4):
                for b in range(4):
                    y, x = 2 * i + a - 1, 2 * j + b - 1
                    if 0 <= y < height and 0 <= x < columns:
                        up[y, x] += down[i, j] @ up_kernel[:, :, a, b]
    total = z[0] + up.clamp(min=0)
    centred = total - total.mean(dim=-1, keepdim=True)
    normed = centred / (centred.pow(2).mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    expected = normed * adapter.norm.weight + adapter.norm.bias
    assert (adapter(z)[0] - expected).abs().max() < 1e-4


@torch.no_grad()
def test_adapter_lies_beside_the_mlp():
    torch.manual_seed(3)
    block = Block(8, 2, window=0, grid=4, adapter=True)
    x = torch.randn(1, 4, 4, 8)
    y = x + block.attn(block.norm1(x))
    z = block.norm2(y)
    assert (block(x) - (y + block.mlp(z) + block.Adapter(z))).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("config", "shapes"),
    [(MICRO, [(32, 4), (16, 8), (8, 16), (8, 32), (8, 16)]), (MICRO_SAM, [(32, 4)])],
    ids=["stem", "patches"],
)
@torch.no_grad()
def test_features_have_the_shapes_that_are_documented(config, shapes):
    features = ImageEncoder(config)(torch.randn(2, 3, 64, 64))
    assert [tuple(f.shape) for f in features] == [(2, c, s, s) for c, s in shapes]


def test_tiny_has_at_most_twelve_million_parameters():
    from seg_sam.model import SegSam

    with torch.device("meta"):
        model = SegSam(SIZES["tiny"])
    assert 1e6 < sum(p.numel() for p in model.parameters()) <= 12e6
