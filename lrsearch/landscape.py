"""`Landscape`: the loss around where some runs stand, as probes see it.

Runs are stacked along a leading axis A, so that one look measures all of them. The tensors are
torch's; nothing here imports it.
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
        labels: whole numbers from 0, shape `[N]`.
    """

    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Landscape:
    """The loss of A runs as a function of their parameters.

    Attributes:
        values: parameters, each of shape `[A, ...]`.
        loss: mean loss over a part of `samples` at other parameters, shape `[A]`, differentiable
            twice; in evaluation mode.
        fresh: the same over other samples at every look, as many, for what is averaged over looks.
        samples: n, how many there are; those of `loss` are the same for every run and every look.
        rate: η of the update just done, shape `[A]`, on the host.
        momentum: μ, or β1 of Adam, of that update, shape `[A]`, on the host.
        method: how gradients become updates, a name of `lrsearch.theory.stability_limit`.
        weight_decay: what is added to the curvature: λ where the decay is in the gradient, else 0.
        scale: D of updates -η D⁻¹ m, like `values`; None where it is the identity.
        replay: does a step, which returns named tensors of shape `[A]` or `[A, n]`, perhaps as a
            recorded graph, and returns them on the host: the step must read nothing but the
            tensors above and what is in `kept`. Besides, from which of their numbers on rounding
            is amplified, so that a replay may differ, by name. None does it as it is.
        kept: where what every look reads can be kept; None where nothing needs to be.
        classes: where the runs are linear classifiers, of parameters W `[A, C, d]` and perhaps a
            bias `[A, C]`; else None.
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
