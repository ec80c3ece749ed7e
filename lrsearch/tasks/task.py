"""`TorchTask`: what a user gives of a training run; everything else is lrsearch's.

A task is a model, a loss and data. Slots, seeds, the order of the data, the optimizer's
arithmetic, evaluation and divergence are the trainer's, so that every schedule is compared on the
same terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lrsearch.bounds import COUNT, STEPS, Bound
from lrsearch.errors import RequestError
from lrsearch.ranges import Range, Value, check_entry

#: `adam` couples its weight decay to the gradient, `adamw` subtracts it from the weights.
OPTIMIZERS = ("sgd", "nesterov", "adam", "adamw")
PRECISIONS = ("float32", "bfloat16")

_BOUNDS = {
    "steps": STEPS,
    "batch": COUNT,
    "evaluations": Bound(kind="int", low=1, high=1000),
    "optimizer": Bound(kind="name", names=OPTIMIZERS),
    "momentum": Bound(low=0, high=1, open_high=True),
    "beta2": Bound(low=0, high=1, open_high=True),
    "epsilon": Bound(low=0, open_low=True),
    "weight_decay": Bound(low=0),
    "clip": Bound(low=0, open_low=True, optional=True),
    "precision": Bound(kind="name", names=PRECISIONS),
}


def validation_steps(updates: int, evaluations: int) -> frozenset[int]:
    """After how many updates the value is computed before the end: evenly spaced, half up."""
    marks = ((2 * updates * i + evaluations) // (2 * evaluations) for i in range(1, evaluations))
    return frozenset(marks) - {0, updates}


@dataclass(frozen=True, kw_only=True, eq=False)
class TorchTask:
    """A training run that a schedule is searched for.

    Give the fields to the constructor, or derive a class whose attributes and methods they are.

    Attributes:
        name: what it is called.
        model: builds a module and initialises it from the generator that it is given.
        loss: `loss(model, batch)` → one loss a sample, shape `[B]`, or their mean, a scalar. A
            batch that grows needs one loss a sample. `batch` is a tuple of tensors.
        train: tensors whose first axis is the sample, or a map-style dataset.
        validation: the same kind of tensors; the value is their mean loss in evaluation mode.
        evaluate: `evaluate(model)` → the value, instead of `validation`.
        metrics: `metrics(model, batch)` → numbers by name, one a sample each, averaged over the
            validation tensors into the outcome's figures.
        evaluations: how often the value is computed in a run, evenly spaced, the end included.
        independent: draw every batch afresh instead of by epochs.
        peak: the range of learning rates that make sense, searched on a logarithmic scale.
        usual_peak: the peak of the default schedule, or None for the middle of the range.
        steps: updates of a run where the user gives none.
        batch: samples of an update where the user gives none.
        optimizer: one of `OPTIMIZERS`.
        momentum: μ of `sgd` and `nesterov` (torch's form), β1 of the others.
        beta2, epsilon: of `adam` and `adamw`.
        weight_decay: coefficient of the parameters.
        clip: largest norm of a run's whole gradient, or None.
        precision: `bfloat16` computes the forward pass in mixed precision.
        unit: of the value, for people.
        about: one line for people.
        positive: whether values are positive.
        untrained: the value of an untrained model, where it is known.
        options: what tells it from other tasks of its name; part of a study's identity.
        version: raised when its values change.

    Raises:
        RequestError: a value is out of range, or neither `validation` nor `evaluate` is given.

    Example:
        >>> import torch
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> class Line(lrsearch.TorchTask):
        ...     peak, steps, batch = (1e-3, 1.0), 20, 8
        ...     train = validation = (x, 2 * x)
        ...     def model(self, generator):
        ...         return torch.nn.Linear(1, 1)
        ...     def loss(self, model, batch):
        ...         return (model(batch[0]) - batch[1]).square()[:, 0]
        >>> lrsearch.tune(Line(), trials=2, tracking_uri="none").objective
        'Line'
    """

    name: str
    model: Callable[[torch.Generator], nn.Module]
    loss: Callable[[Any, Any], Tensor]
    train: Any
    validation: tuple[Tensor, ...] | None = None
    evaluate: Callable[[nn.Module], float] | None = None
    metrics: Callable[[Any, Any], Mapping[str, Tensor]] | None = None
    evaluations: int = 4
    independent: bool = False
    peak: tuple[float, float]
    usual_peak: float | None = None
    steps: int = 1000
    batch: int = 64
    optimizer: str = "sgd"
    momentum: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip: float | None = None
    precision: str = "float32"
    unit: str = "loss"
    about: str = ""
    positive: bool = False
    untrained: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1

    _fields: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def __init_subclass__(cls, **words: Any) -> None:
        """Lets a class give fields as attributes and methods: `class Mine(TorchTask): ...`."""
        super().__init_subclass__(**words)
        own = {
            name: vars(cls)[name] for name in TorchTask.__dataclass_fields__ if name in vars(cls)
        }
        fields: dict[str, Any] = {**getattr(cls, "_fields", {}), "name": cls.__name__, **own}
        cls._fields = fields
        for name, value in own.items():
            if isinstance(value, property):  # which would forbid the field of its name
                delattr(cls, name)

        def create(self: TorchTask, **given: Any) -> None:
            bound = {
                name: value.__get__(self, cls) if hasattr(value, "__get__") else value
                for name, value in fields.items()
                if name not in given
            }
            TorchTask.__init__(self, **bound, **given)

        cls.__init__ = create  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        for name, bound in _BOUNDS.items():
            object.__setattr__(self, name, bound.check(name, getattr(self, name)))
        low, high = self.peak
        check_entry("peak", {"low": low, "high": high, "log": True})
        if (self.validation is None) == (self.evaluate is None):
            raise RequestError(
                f"task {self.name} needs either validation tensors or evaluate(model); give one"
            )
        if isinstance(self.train, Sequence) and all(isinstance(t, Tensor) for t in self.train):
            object.__setattr__(self, "train", tuple(self.train))
            if len({len(t) for t in self.train}) != 1:
                raise RequestError(
                    f"task {self.name}: its training tensors differ in their number of rows; give "
                    "one row a sample"
                )
        if not self.samples:
            raise RequestError(
                f"task {self.name} has no training samples; give train at least one"
            )
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    @property
    def samples(self) -> int:
        """How many training samples there are."""
        return len(self.train[0]) if isinstance(self.train, tuple) else len(self.train)

    @property
    def entries(self) -> dict[str, Range | Value]:
        """What spaces that hold shape only take from this task."""
        low, high = self.peak
        return {"peak": Range(low=low, high=high, log=True), "momentum": self.momentum}
