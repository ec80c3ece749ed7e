"""`Landscape`: the loss around the current parameters of some runs, the input of probes.

Runs are stacked along a leading axis A, so a probe measures all of them at once. The tensors are
torch tensors, but this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    Named = Mapping[str, Tensor]
    Replay = Callable[[Callable[[], Named], Mapping[str, int]], Named]


@dataclass(frozen=True, kw_only=True, eq=False)
class Classes:
    """The training data of a linear classifier.

    Attributes:
        inputs: shape `[N, d]`.
        labels: class indices, integers from 0, shape `[N]`.
    """

    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Landscape:
    """The loss of A runs as a function of their parameters.

    Attributes:
        values: the current parameters, each of shape `[A, ...]`.
        loss: function of parameters and a slice of the `samples`: the mean loss over these
            samples, shape `[A]`, twice differentiable, in evaluation mode. The samples are the
            same for all runs and at all times.
        fresh: the same function on the same number of samples, drawn anew each time, for
            quantities that are averaged over time.
        samples: n, the number of samples.
        rate: η of the last update, shape `[A]`, on the host.
        momentum: μ, or β1 of Adam, of the last update, shape `[A]`, on the host.
        method: the update rule, a method of `lrsearch.theory.stability_limit`.
        weight_decay: the term that weight decay adds to the curvature: λ if the decay is part of
            the gradient, else 0.
        scale: D in the update -η D⁻¹ m, shaped like `values`; None means the identity.
        replay: function that evaluates its first argument, possibly as a recorded CUDA graph, and
            returns the resulting named tensors, of shape `[A]` or `[A, n]`, on the host. The first
            argument may read only the tensors above and those in `kept`. The second argument gives
            by name the index from which rounding errors are amplified, so a replay may differ
            there. None means direct evaluation.
        kept: storage for values that are reused at every measurement; None if there are none.
        classes: the training data if the runs are linear classifiers with parameters W `[A, C, d]`
            and optionally a bias `[A, C]`; else None.
    """

    values: tuple[Tensor, ...]
    loss: Callable[[Sequence[Tensor], slice], Tensor]
    fresh: Callable[[Sequence[Tensor], slice], Tensor]
    samples: int
    rate: Tensor
    momentum: Tensor
    method: str
    weight_decay: float = 0.0
    scale: tuple[Tensor, ...] | None = None
    replay: Replay | None = None
    kept: dict[Hashable, Any] | None = None
    classes: Classes | None = None
