"""AdamW, and Muon for what multiplies hidden features."""

import torch
from torch import Tensor, nn

# A quintic whose iteration draws singular values towards 1 in few steps (Jordan et al. 2024).
QUINTIC = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal (Jordan et al. 2024), with updates of AdamW's size, so that AdamW's learning rate and
    weight decay fit (Liu et al. 2025, arXiv 2502.16982).

    A kernel (O, I, h, w) counts as a matrix (O, I * h * w). PyTorch's own Muon takes matrices only and iterates in
    bfloat16, which CPUs without it emulate a hundred times slower; this one iterates in float32.
    """

    def __init__(self, parameters: list[Tensor], lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                matrix = weight.grad.lerp(momentum, group["momentum"]).flatten(1)
                size = 0.2 * max(matrix.shape) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(orthogonal(matrix).reshape(weight.shape), alpha=-group["lr"] * size)


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """(O, I) with the same singular vectors and singular values near 1, by a Newton-Schulz iteration."""
    a, b, c = QUINTIC
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix.float() if wide else matrix.float().t()
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.t()
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.t()


def make_optimisers(learner: nn.Module, muon: bool, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """AdamW alone, or AdamW beside Muon. Weight decay on matrices and kernels only."""
    hidden = hidden_weights(learner) if muon else []
    taken = {id(w) for w in hidden}
    rest = [p for p in learner.parameters() if p.requires_grad and id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimisers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))]
    return [*optimisers, Muon(hidden, lr, weight_decay)] if hidden else optimisers


def hidden_weights(learner: nn.Module) -> list[Tensor]:
    """Weights of linear layers and convolutions between hidden features: neither the image's nor the classes' own."""
    layers = [
        m.weight
        for name, m in learner.named_modules()
        if isinstance(m, nn.Linear | nn.Conv2d) and m.weight.shape[1] > 3 and not name.startswith("dense_head")
    ]
    return [w for w in layers if w.requires_grad and min(w.shape[0], w[0].numel()) >= 16]
