"""What training minimises."""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F


def focal_loss(logits: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """(..., h, h) to (...): focal loss (Lin et al. 2017); targets may be soft."""
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p = logits.sigmoid()
    missed = p + target - 2 * p * target
    weight = alpha * target + (1 - alpha) * (1 - target)
    return (weight * missed.pow(gamma) * bce).mean(dim=(-2, -1))


def dice_loss(probability: Tensor, target: Tensor) -> Tensor:
    """(..., h, h) to (...): 1 - soft Dice."""
    overlap = (probability * target).sum(dim=(-2, -1))
    total = probability.sum(dim=(-2, -1)) + target.sum(dim=(-2, -1))
    return 1 - (2 * overlap + 1) / (total + 1)


def mask_loss(logits: Tensor, target: Tensor, focal: float = 20.0) -> Tensor:
    """`focal` times the focal loss plus Dice; SAM weighs them 20 to 1."""
    return focal * focal_loss(logits, target) + dice_loss(logits.sigmoid(), target)


def iou_of_logits(logits: Tensor, target: Tensor) -> Tensor:
    """(..., h, h) to (...): IoU of the thresholded masks."""
    a, b = logits > 0, target > 0.5
    union = (a | b).sum(dim=(-2, -1))
    return (a & b).sum(dim=(-2, -1)) / union.clamp(min=1)


def binary_decoder_loss(logits: Tensor, iou: Tensor, target: Tensor, focal: float = 20.0) -> Tensor:
    """Dec_sag: logits (P, 4, h, h), iou (P, 4), target (P, h, h).

    The first mask answers every prompt; of the three multimask outputs only the best is trained, as in SAM. Those
    three are compared at half the resolution, which costs a quarter.
    """
    single = mask_loss(logits[:, 0], target, focal)
    half = F.avg_pool2d(target.unsqueeze(1), 2)
    multi = F.avg_pool2d(logits[:, 1:], 2)
    best = mask_loss(multi, half.expand_as(multi), focal).min(dim=1).values
    with torch.no_grad():
        actual = torch.cat([iou_of_logits(logits[:, :1], target.unsqueeze(1)), iou_of_logits(multi, half)], dim=1)
    return (single + 0.5 * best).mean() + F.mse_loss(iou, actual)


def object_class_loss(so_logits: Tensor, classes: Tensor, known: Tensor, smoothing: float = 0.02) -> Tensor:
    """Cross-entropy of the prompted object's class, with label smoothing.

    so_logits (P, K + 1), classes (P,), known (P, K) bool: where the prompt points at "nothing", which is class K, an
    object of a class whose absence is not certain may lie there unlabelled, so "nothing" competes without those.
    """
    nothing = so_logits.shape[1] - 1
    allowed = F.pad(known, (0, 1), value=True) | (classes != nothing).unsqueeze(1)
    missed = -so_logits.float().masked_fill(~allowed, -1e4).log_softmax(dim=1)
    own = missed.gather(1, classes.unsqueeze(1))[:, 0]
    spread = missed.masked_fill(~allowed, 0.0).sum(dim=1) / allowed.sum(dim=1)
    return ((1 - smoothing) * own + smoothing * spread).mean()


def alignment_loss(logits: Tensor, semantic_logits: Tensor) -> Tensor:
    """Cross-mask spatial alignment: soft Dice between the decoders' masks. The aim is the paper's, the term ours."""
    return dice_loss(logits.sigmoid(), semantic_logits.sigmoid()).mean()


def set_loss(co_logits: Tensor, present: list[Tensor], known: list[Tensor], nothing_weight: float = 0.15) -> Tensor:
    """Bipartite matching of CO-tokens to the unprompted classes that are present (as DETR, Carion et al. 2020).

    co_logits (P, T, K + 1); for each prompt, `present` holds class indices and `known` (K,) bool says whose absence is
    certain: a token without a class may only be told "nothing" against those.
    """
    prompts, tokens, entries = co_logits.shape
    nothing = entries - 1
    target = torch.full((prompts, tokens), nothing, dtype=torch.int64)
    cost = -co_logits.detach().float().log_softmax(dim=-1).cpu()
    for p, classes in enumerate(present):
        if len(classes) > 0:
            rows, columns = linear_sum_assignment(cost[p][:, classes].numpy())
            target[p, rows] = classes[columns]
    target = target.to(co_logits.device)
    free = (target == nothing).unsqueeze(-1)
    certain = F.pad(torch.stack(known).to(co_logits.device), (0, 1), value=True).unsqueeze(1)
    logits = co_logits.float().masked_fill(free & ~certain, -1e4)
    loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none")
    weight = torch.where(target == nothing, nothing_weight, 1.0).flatten()
    return (loss * weight).sum() / weight.sum()


def dense_loss(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Per-pixel class of the encoder's auxiliary head: logits (B, K + 1, h, h), target (B, h, h) with K background and
    -1 unknown, known (B, K) bool: a pixel's class competes only with those whose absence is certain.

    The pixels of a class in an image weigh, together, the square root of their number: small structures count.
    """
    certain = F.pad(known, (0, 1), value=True).reshape(known.shape[0], -1, 1, 1)
    competes = certain.expand(logits.shape).scatter(1, target.clamp(min=0).unsqueeze(1), True)
    loss = F.cross_entropy(logits.float().masked_fill(~competes, -1e4), target, ignore_index=-1, reduction="none")
    seen = target.flatten(1).clamp(min=0)
    counts = torch.zeros(logits.shape[:2], device=logits.device).scatter_add_(1, seen, (target >= 0).flatten(1).float())
    weight = counts.clamp(min=1).rsqrt().gather(1, seen).reshape(target.shape) * (target >= 0)
    return (loss * weight).sum() / weight.sum().clamp(min=1e-6)
