"""Stacked tensors of many runs: conversion to one matrix, and copies to the host by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor


def flatten(values: Sequence[Tensor]) -> Tensor:
    """Return stacked tensors side by side, shape `[A, P]`, so one operation acts on all."""
    return torch.cat([v.reshape(len(v), -1) for v in values], 1)


def unflatten(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return views of the shapes of `like`, the inverse of `flatten`."""
    sizes = [v[0].numel() for v in like]
    return [part.view(v.shape) for part, v in zip(torch.split(flat, sizes, 1), like, strict=True)]


def pack(named: Mapping[str, Tensor]) -> Tensor:
    """Return named tensors of shape `[A]` or `[A, n]` side by side, in float64."""
    return torch.cat([t.double().reshape(len(t), -1) for t in named.values()], 1)


def layout(named: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the number of columns of each tensor in `pack`; 0 for a tensor of shape `[A]`."""
    return {name: 0 if t.dim() == 1 else t.shape[1] for name, t in named.items()}


def unpack(packed: Tensor, columns: Mapping[str, int]) -> dict[str, Tensor]:
    """Return views by name, the inverse of `pack`."""
    parts = torch.split(packed, [max(1, n) for n in columns.values()], 1)
    named = zip(columns.items(), parts, strict=True)
    return {name: part if n else part[:, 0] for (name, n), part in named}


def to_host(
    step: Callable[[], Mapping[str, Tensor]], _amplified: Mapping[str, int]
) -> dict[str, Tensor]:
    """Call `step` and copy the tensors that it returns to the host, in a single copy."""
    named = step()
    return unpack(pack(named).cpu(), layout(named))
