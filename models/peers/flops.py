"""Floating-point operations of matrix products, convolutions and attention: a multiplication with its addition is 2."""

from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


@torch.no_grad()
def count(call: Callable[[], object]) -> int:
    counter = FlopCounterMode(display=False)
    # As matrix products: the counter does not know each fused kernel.
    with sdpa_kernel(SDPBackend.MATH), counter:
        call()
    return counter.get_total_flops()


def per_prompt(decode: Callable[[int], object]) -> dict[str, int]:
    """Of a decode of P prompts: what is done once, and what each prompt adds."""
    one, three = count(lambda: decode(1)), count(lambda: decode(3))
    each = (three - one) // 2
    return {"once": one - each, "each": each}
