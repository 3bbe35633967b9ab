"""SAM, MedSAM and SAM-Med2D once more, key by key with elementary functions: a reference that shares no code with ours.

After the published structure of segment-anything (`modeling/`) and of SAM-Med2D's adapters. Attention is written with
its whole matrix of scores, as published, so keep the grids small.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]


@dataclass(frozen=True)
class Shape:
    """What the published code is configured with."""

    width: int = 32
    heads: int = 2
    depth: int = 3
    global_blocks: tuple[int, ...] = (1,)
    grid: int = 6
    window: int = 4
    patch: int = 16
    adapters: bool = False
    channels: int = 32  # 256 in SAM
    mask_channels: int = 16
    decoder_heads: int = 8
    decoder_mlp: int = 64  # 2048 in SAM
    iou_hidden: int = 32  # 256 in SAM

    @property
    def side(self) -> int:
        return self.grid * self.patch


VIT_B = Shape(768, 12, 12, (2, 5, 8, 11), 64, 14, channels=256, decoder_mlp=2048, iou_hidden=256)


def random_state(shape: Shape, seed: int = 5) -> State:
    """A checkpoint of random weights under the published names, which make outputs that depend on every one."""
    generator = torch.Generator().manual_seed(seed)
    state: State = {}

    def add(name: str, *size: int, std: float) -> None:
        state[name] = std * torch.randn(size, generator=generator)

    def affine(name: str, *size: int, bias: int | None = -1, fan: int | None = None) -> None:
        add(f"{name}.weight", *size, std=1.2 * (fan or math.prod(size[1:])) ** -0.5)
        if bias is not None:
            add(f"{name}.bias", size[0] if bias == -1 else bias, std=0.1)

    def norm(name: str, size: int) -> None:
        add(f"{name}.weight", size, std=0.1)
        state[f"{name}.weight"] += 1
        add(f"{name}.bias", size, std=0.1)

    w, c = shape.width, shape.channels
    add("image_encoder.pos_embed", 1, shape.grid, shape.grid, w, std=0.3)
    affine("image_encoder.patch_embed.proj", w, 3, shape.patch, shape.patch)
    for i in range(shape.depth):
        block = f"image_encoder.blocks.{i}"
        span = shape.grid if i in shape.global_blocks else shape.window
        norm(f"{block}.norm1", w)
        norm(f"{block}.norm2", w)
        for axis in "hw":
            add(f"{block}.attn.rel_pos_{axis}", 2 * span - 1, w // shape.heads, std=0.3)
        affine(f"{block}.attn.qkv", 3 * w, w)
        affine(f"{block}.attn.proj", w, w)
        affine(f"{block}.mlp.lin1", 4 * w, w)
        affine(f"{block}.mlp.lin2", w, 4 * w)
        if shape.adapters:
            norm(f"{block}.Adapter.norm", w)
            affine(f"{block}.Adapter.channel.0", w // 4, w, bias=None)
            affine(f"{block}.Adapter.channel.2", w, w // 4, bias=None)
            affine(f"{block}.Adapter.spatial.0", w, w, 3, 3, bias=None)
            affine(f"{block}.Adapter.spatial.2", w, w, 4, 4, bias=None, fan=4 * w)
    affine("image_encoder.neck.0", c, w, 1, 1, bias=None)
    norm("image_encoder.neck.1", c)
    affine("image_encoder.neck.2", c, c, 3, 3, bias=None)
    norm("image_encoder.neck.3", c)

    add("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", 2, c // 2, std=1.0)
    for i in range(4):
        add(f"prompt_encoder.point_embeddings.{i}.weight", 1, c, std=0.5)
    add("prompt_encoder.not_a_point_embed.weight", 1, c, std=0.5)
    add("prompt_encoder.no_mask_embed.weight", 1, c, std=0.3)
    m = shape.mask_channels
    affine("prompt_encoder.mask_downscaling.0", m // 4, 1, 2, 2)
    norm("prompt_encoder.mask_downscaling.1", m // 4)
    affine("prompt_encoder.mask_downscaling.3", m, m // 4, 2, 2)
    norm("prompt_encoder.mask_downscaling.4", m)
    affine("prompt_encoder.mask_downscaling.6", c, m, 1, 1)

    def token_attention(name: str, inner: int) -> None:
        for part in ("q_proj", "k_proj", "v_proj"):
            affine(f"{name}.{part}", inner, c)
        affine(f"{name}.out_proj", c, inner)

    decoder = "mask_decoder"
    for i in range(2):
        layer = f"{decoder}.transformer.layers.{i}"
        token_attention(f"{layer}.self_attn", c)
        token_attention(f"{layer}.cross_attn_token_to_image", c // 2)
        token_attention(f"{layer}.cross_attn_image_to_token", c // 2)
        affine(f"{layer}.mlp.lin1", shape.decoder_mlp, c)
        affine(f"{layer}.mlp.lin2", c, shape.decoder_mlp)
        for n in range(1, 5):
            norm(f"{layer}.norm{n}", c)
    token_attention(f"{decoder}.transformer.final_attn_token_to_image", c // 2)
    norm(f"{decoder}.transformer.norm_final_attn", c)
    add(f"{decoder}.iou_token.weight", 1, c, std=0.5)
    add(f"{decoder}.mask_tokens.weight", 4, c, std=0.5)
    affine(f"{decoder}.output_upscaling.0", c, c // 4, 2, 2, bias=c // 4, fan=c)
    norm(f"{decoder}.output_upscaling.1", c // 4)
    affine(f"{decoder}.output_upscaling.3", c // 4, c // 8, 2, 2, bias=c // 8, fan=c // 4)
    for i in range(4):
        for n, out in enumerate((c, c, c // 8)):
            affine(f"{decoder}.output_hypernetworks_mlps.{i}.layers.{n}", out, c)
    hidden = shape.iou_hidden
    for n, (out, inside) in enumerate(((hidden, c), (hidden, hidden), (4, hidden))):
        affine(f"{decoder}.iou_prediction_head.layers.{n}", out, inside)
    return state


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))


def layer_norm(state: State, name: str, x: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)


def channel_norm(state: State, name: str, x: Tensor) -> Tensor:
    """SAM's LayerNorm2d: over the channels of (B, C, H, W), eps 1e-6."""
    mean = x.mean(1, keepdim=True)
    variance = ((x - mean) ** 2).mean(1, keepdim=True)
    normed = (x - mean) / torch.sqrt(variance + 1e-6)
    return normed * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]


def encode(state: State, shape: Shape, image: Tensor) -> Tensor:
    """(1, 3, S, S) normalised to (1, C, S/16, S/16)."""
    projection = "image_encoder.patch_embed.proj"
    x = F.conv2d(image, state[f"{projection}.weight"], state[f"{projection}.bias"], stride=shape.patch)
    x = x.permute(0, 2, 3, 1) + state["image_encoder.pos_embed"]
    for i in range(shape.depth):
        x = encoder_block(state, f"image_encoder.blocks.{i}", shape, i in shape.global_blocks, x)
    x = F.conv2d(x.permute(0, 3, 1, 2), state["image_encoder.neck.0.weight"])
    x = channel_norm(state, "image_encoder.neck.1", x)
    x = F.conv2d(x, state["image_encoder.neck.2.weight"], padding=1)
    return channel_norm(state, "image_encoder.neck.3", x)


def encoder_block(state: State, name: str, shape: Shape, is_global: bool, x: Tensor) -> Tensor:
    normed = layer_norm(state, f"{name}.norm1", x, 1e-6)
    if is_global:
        attended = grid_attention(state, f"{name}.attn", shape.heads, normed[0])[None]
    else:
        attended = windowed_attention(state, f"{name}.attn", shape, normed)
    x = x + attended
    z = layer_norm(state, f"{name}.norm2", x, 1e-6)
    out = x + linear(state, f"{name}.mlp.lin2", F.gelu(linear(state, f"{name}.mlp.lin1", z)))
    return out + adapter(state, f"{name}.Adapter", z) if shape.adapters else out


def windowed_attention(state: State, name: str, shape: Shape, x: Tensor) -> Tensor:
    """Window by window over (1, H, W, C), after padding below and to the right with zeros."""
    side, window = x.shape[1], shape.window
    padded_side = math.ceil(side / window) * window
    padded = x.new_zeros(padded_side, padded_side, x.shape[-1])
    padded[:side, :side] = x[0]
    out = torch.empty_like(padded)
    for top in range(0, padded_side, window):
        for left in range(0, padded_side, window):
            part = padded[top : top + window, left : left + window]
            out[top : top + window, left : left + window] = grid_attention(state, name, shape.heads, part)
    return out[None, :side, :side]


def grid_attention(state: State, name: str, heads: int, x: Tensor) -> Tensor:
    """Over (H, W, C), with decomposed relative positions added to the whole matrix of scores."""
    height, width, channels = x.shape
    size = channels // heads
    qkv = linear(state, f"{name}.qkv", x.reshape(-1, channels)).reshape(-1, 3, heads, size)
    rows = torch.arange(height)
    columns = torch.arange(width)
    towards_rows = state[f"{name}.rel_pos_h"][rows[:, None] - rows[None] + height - 1]
    towards_columns = state[f"{name}.rel_pos_w"][columns[:, None] - columns[None] + width - 1]
    outputs = []
    for head in range(heads):
        q, k, v = qkv[:, 0, head], qkv[:, 1, head], qkv[:, 2, head]
        scores = (q / math.sqrt(size)) @ k.T
        grid_q = q.reshape(height, width, size)
        by_row = torch.einsum("hwc,hkc->hwk", grid_q, towards_rows)
        by_column = torch.einsum("hwc,wkc->hwk", grid_q, towards_columns)
        bias = by_row[:, :, :, None] + by_column[:, :, None, :]
        outputs.append((scores + bias.reshape(height * width, -1)).softmax(-1) @ v)
    joined = torch.stack(outputs, 1).reshape(-1, channels)
    return linear(state, f"{name}.proj", joined).reshape(x.shape)


def adapter(state: State, name: str, z: Tensor) -> Tensor:
    """SAM-Med2D's: LayerNorm(z + S(g * z)), beside the MLP."""
    gate = linear(state, f"{name}.channel.2", F.relu(linear(state, f"{name}.channel.0", z.mean((1, 2))))).sigmoid()
    gated = (z * gate[:, None, None]).permute(0, 3, 1, 2)
    down = F.relu(F.conv2d(gated, state[f"{name}.spatial.0.weight"], stride=2, padding=1))
    up = F.relu(F.conv_transpose2d(down, state[f"{name}.spatial.2.weight"], stride=2, padding=1))
    return layer_norm(state, f"{name}.norm", z + up.permute(0, 2, 3, 1), 1e-5)


def fourier(state: State, unit: Tensor) -> Tensor:
    """Positions (..., 2) in 0..1 to (..., C)."""
    angles = 2 * math.pi * ((2 * unit - 1) @ state["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"])
    return torch.cat([angles.sin(), angles.cos()], -1)


def prompt_tokens(
    state: State, side: int, points: list[list[float]], labels: list[int], box: list[float] | None
) -> Tensor:
    """(N, C): the points, a padding point where there is no box, then the corners of the box."""
    kinds = [state[f"prompt_encoder.point_embeddings.{i}.weight"][0] for i in range(4)]
    tokens = [
        fourier(state, (torch.tensor(p) + 0.5) / side) + kinds[label] for p, label in zip(points, labels, strict=True)
    ]
    if box is None:
        tokens.append(state["prompt_encoder.not_a_point_embed.weight"][0])
    else:
        tokens.append(fourier(state, (torch.tensor(box[:2]) + 0.5) / side) + kinds[2])
        tokens.append(fourier(state, (torch.tensor(box[2:]) + 0.5) / side) + kinds[3])
    return torch.stack(tokens)


def dense_prompt(state: State, shape: Shape, mask: Tensor | None) -> Tensor:
    """(C, S/16, S/16) from mask logits (S/4, S/4)."""
    if mask is None:
        return state["prompt_encoder.no_mask_embed.weight"][0][:, None, None].expand(-1, shape.grid, shape.grid)
    name = "prompt_encoder.mask_downscaling"
    x = F.conv2d(mask[None, None], state[f"{name}.0.weight"], state[f"{name}.0.bias"], stride=2)
    x = F.gelu(channel_norm(state, f"{name}.1", x))
    x = F.conv2d(x, state[f"{name}.3.weight"], state[f"{name}.3.bias"], stride=2)
    x = F.gelu(channel_norm(state, f"{name}.4", x))
    return F.conv2d(x, state[f"{name}.6.weight"], state[f"{name}.6.bias"])[0]


def token_attention(state: State, name: str, heads: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(N, C) queries over (M, C) keys and values."""
    q, k, v = (linear(state, f"{name}.{part}_proj", x) for part, x in (("q", q), ("k", k), ("v", v)))
    size = q.shape[1] // heads
    outputs = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = q[:, part] @ k[:, part].T / math.sqrt(size)
        outputs.append(scores.softmax(-1) @ v[:, part])
    return linear(state, f"{name}.out_proj", torch.cat(outputs, 1))


def two_way_transformer(state: State, heads: int, tokens: Tensor, image: Tensor, positions: Tensor):
    """Tokens (N, C), image and its positions (H * W, C): both transformed. Layer norms have eps 1e-5."""
    name = "mask_decoder.transformer"
    queries, keys = tokens, image
    for i in range(2):
        layer = f"{name}.layers.{i}"
        if i == 0:
            queries = token_attention(state, f"{layer}.self_attn", heads, queries, queries, queries)
        else:
            q = queries + tokens
            queries = queries + token_attention(state, f"{layer}.self_attn", heads, q, q, queries)
        queries = layer_norm(state, f"{layer}.norm1", queries, 1e-5)
        attended = token_attention(
            state, f"{layer}.cross_attn_token_to_image", heads, queries + tokens, keys + positions, keys
        )
        queries = layer_norm(state, f"{layer}.norm2", queries + attended, 1e-5)
        hidden = F.relu(linear(state, f"{layer}.mlp.lin1", queries))
        queries = layer_norm(state, f"{layer}.norm3", queries + linear(state, f"{layer}.mlp.lin2", hidden), 1e-5)
        attended = token_attention(
            state, f"{layer}.cross_attn_image_to_token", heads, keys + positions, queries + tokens, queries
        )
        keys = layer_norm(state, f"{layer}.norm4", keys + attended, 1e-5)
    attended = token_attention(
        state, f"{name}.final_attn_token_to_image", heads, queries + tokens, keys + positions, keys
    )
    return layer_norm(state, f"{name}.norm_final_attn", queries + attended, 1e-5), keys


def relu_layers(state: State, name: str, x: Tensor) -> Tensor:
    x = F.relu(linear(state, f"{name}.layers.0", x))
    x = F.relu(linear(state, f"{name}.layers.1", x))
    return linear(state, f"{name}.layers.2", x)


def decode(
    state: State,
    shape: Shape,
    embedding: Tensor,
    points: list[list[float]],
    labels: list[int],
    box: list[float] | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One prompt, in pixels of the S x S frame: logits (4, S/4, S/4) and predicted IoU (4)."""
    name, grid = "mask_decoder", shape.grid
    own = torch.cat([state[f"{name}.iou_token.weight"], state[f"{name}.mask_tokens.weight"]])
    tokens = torch.cat([own, prompt_tokens(state, shape.side, points, labels, box)])
    centres = (torch.arange(grid) + 0.5) / grid
    unit = torch.stack([centres[None].expand(grid, grid), centres[:, None].expand(grid, grid)], -1)
    positions = fourier(state, unit).reshape(grid * grid, -1)
    image = (embedding[0] + dense_prompt(state, shape, mask)).flatten(1).T
    queries, keys = two_way_transformer(state, shape.decoder_heads, tokens, image, positions)
    up = f"{name}.output_upscaling"
    x = keys.T.reshape(1, -1, grid, grid)
    x = F.conv_transpose2d(x, state[f"{up}.0.weight"], state[f"{up}.0.bias"], stride=2)
    x = F.gelu(channel_norm(state, f"{up}.1", x))
    x = F.gelu(F.conv_transpose2d(x, state[f"{up}.3.weight"], state[f"{up}.3.bias"], stride=2))[0]
    masks = [
        (relu_layers(state, f"{name}.output_hypernetworks_mlps.{i}", queries[1 + i])[:, None, None] * x).sum(0)
        for i in range(4)
    ]
    return torch.stack(masks), relu_layers(state, f"{name}.iou_prediction_head", queries[0])
