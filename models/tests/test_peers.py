"""The benchmark's counting of operations, against sums by hand."""

import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))

import flops


def test_the_command_finds_what_it_imports():
    make = Path(flops.__file__).with_name("make.py")
    done = subprocess.run([sys.executable, str(make), "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tiny-256" in done.stdout


def test_layers_count_two_for_each_multiplication():
    linear = nn.Linear(7, 5).requires_grad_(False)
    assert flops.count(lambda: linear(torch.zeros(3, 7))) == 2 * 3 * 7 * 5
    convolution = nn.Conv2d(3, 4, 2, stride=2).requires_grad_(False)
    assert flops.count(lambda: convolution(torch.zeros(1, 3, 8, 8))) == 2 * (4 * 4) * 4 * (3 * 2 * 2)


def test_a_decode_is_what_is_done_once_and_what_each_prompt_adds():
    once, each = nn.Linear(4, 4).requires_grad_(False), nn.Linear(2, 3).requires_grad_(False)

    def decode(prompts: int):
        return once(torch.zeros(5, 4)), each(torch.zeros(prompts, 2))

    assert flops.per_prompt(decode) == {"once": 2 * 5 * 4 * 4, "each": 2 * 2 * 3}


def test_attention_of_a_block_without_a_window():
    from seg_sam.config import Config
    from seg_sam.image_encoder import Block

    width, grid = 32, 6
    block = Block(width, 4, 0, grid, adapter=Config.adapters).requires_grad_(False)
    tokens, head = grid * grid, width // 4
    linear = 2 * tokens * width * (3 * width + width + 8 * width)
    positions = 2 * 2 * 4 * tokens * grid * head
    products = 2 * 4 * tokens * tokens * head + 2 * 4 * tokens * tokens * head
    assert flops.count(lambda: block(torch.zeros(1, grid, grid, width))) == linear + positions + products
