"""Muon against PyTorch's own, and which weights it takes."""

import torch
from torch import nn

from seg_sam.optimiser import Muon, hidden_weights, make_optimisers, orthogonal


def test_singular_values_come_near_one_in_either_shape():
    for shape in [(24, 60), (60, 24), (32, 32)]:
        matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        result = orthogonal(matrix)
        assert result.shape == matrix.shape
        values = torch.linalg.svdvals(result)
        assert values.min() > 0.3 and values.max() < 1.3
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        assert torch.nn.functional.cosine_similarity(result.flatten(), (left @ right).flatten(), dim=0) > 0.95


def test_steps_are_those_of_pytorch():
    generator = torch.Generator().manual_seed(2)
    start = torch.randn(20, 48, generator=generator)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    mine = Muon([ours], lr=0.02, weight_decay=0.05)
    reference = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        gradient = torch.randn(20, 48, generator=generator)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        mine.step()
        reference.step()
    moved = (theirs - start).norm()
    # PyTorch iterates in bfloat16.
    assert (ours - theirs).norm() < 0.03 * moved


def test_a_kernel_counts_as_a_matrix_in_any_memory_format():
    start = torch.randn(16, 8, 3, 3, generator=torch.Generator().manual_seed(3))
    gradient = torch.randn(16, 8, 3, 3, generator=torch.Generator().manual_seed(4))
    results = []
    for prepare in (
        lambda w: w.clone(),
        lambda w: w.clone(memory_format=torch.channels_last),
        lambda w: w.flatten(1).clone(),
    ):
        weight = nn.Parameter(prepare(start))
        weight.grad = prepare(gradient)
        Muon([weight], lr=0.1, weight_decay=0.0).step()
        results.append(weight.detach().reshape(16, 8, 3, 3))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(results[2], results[0], rtol=0, atol=1e-5)


def test_every_trainable_weight_has_one_optimiser():
    learner = nn.ModuleDict(
        {"first": nn.Conv2d(3, 32, 3), "hidden": nn.Linear(32, 32), "dense_head": nn.Linear(32, 20)}
    )
    learner["frozen"] = nn.Linear(32, 32).requires_grad_(False)
    hidden = hidden_weights(learner)
    assert [id(w) for w in hidden] == [id(learner["hidden"].weight)]
    optimisers = make_optimisers(learner, True, 1e-3, 0.05)
    taken = [id(p) for o in optimisers for g in o.param_groups for p in g["params"]]
    assert sorted(taken) == sorted(id(p) for p in learner.parameters() if p.requires_grad)
    assert len(make_optimisers(learner, False, 1e-3, 0.05)) == 1
