"""`TorchTask`: the description of a training run by its model, loss and data.

The trainer does the rest: slots, seeds, the order of the data, the optimizer's arithmetic,
validation and the detection of divergence. Every schedule is therefore compared on the same terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lrsearch.bounds import COUNT, STEPS, Bound
from lrsearch.errors import RequestError
from lrsearch.ranges import Range, Value, check_entry
from lrsearch.tasks.structure import Structure, is_whole
from lrsearch.tasks.task_data import check_train, check_validation

#: `adam` adds weight decay to the gradient; `adamw` decays the weights directly.
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
    """Return the step counts before the end after which a run is validated, evenly spaced.

    Args:
        updates: number of steps of the run.
        evaluations: number of evaluations, including the one at the end.
    """
    marks = ((2 * updates * i + evaluations) // (2 * evaluations) for i in range(1, evaluations))
    return frozenset(marks) - {0, updates}


@dataclass(frozen=True, kw_only=True, eq=False)
class TorchTask:
    """A training run whose learning-rate schedule is searched.

    Pass the fields to the constructor, or derive a class that defines them as attributes and
    methods.

    Attributes:
        name: name of the task.
        model: function `model(generator)` that builds a module and initialises it from the
            generator.
        loss: function `loss(model, batch)` that returns one loss per sample, shape `[B]`, or their
            mean, a scalar. `batch` has the structure of a sample: a tuple or a dict of tensors, or
            both nested. A population can pad growing batches only if the loss is per sample.
        train: tuple of tensors whose first axis is the sample, or a dict of them, or a map-style
            dataset of such samples.
        validation: tensors whose first axis is the sample, in the structure of a sample or in a
            tuple. The value of a run is the mean loss on them in evaluation mode.
        evaluate: function `evaluate(model)` that returns the value, in place of `validation`.
        metrics: function `metrics(model, batch)` that returns tensors by name, one number per
            sample. Their means over `validation` become the figures of the outcome.
        evaluations: number of evenly spaced evaluations in a run, including the one at the end.
        independent: True to draw each batch independently; False to shuffle once per epoch.
        peak: lowest and highest learning rate that make sense, searched on a logarithmic scale.
        usual_peak: peak of the default schedule, or None for the middle of the range.
        steps: default number of steps of a run.
        batch: default number of samples per step.
        optimizer: one of `OPTIMIZERS`.
        momentum: μ of `sgd` and `nesterov` (torch's form), or β1 of `adam` and `adamw`.
        beta2, epsilon: constants of `adam` and `adamw`.
        weight_decay: coefficient of the weight decay.
        clip: largest norm of a run's whole gradient, or None for no clipping.
        precision: `float32`, or `bfloat16` for a forward pass in mixed precision.
        unit: unit of the value, shown in reports.
        about: one-line description.
        positive: True if values are positive.
        untrained: value of an untrained model, or None if it is unknown.
        loss_decreases: False if the loss need not decrease in a healthy run; only a loss that is
            not finite then means divergence.
        options: values that distinguish tasks of the same name; part of a study's identity.
        version: number to increase when the values of the task change.

    Raises:
        RequestError: a field is out of range, the data cannot be used, or not exactly one of
            `validation` and `evaluate` is given.

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
    validation: Any = None
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
    loss_decreases: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1

    _fields: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def __init_subclass__(cls, **words: Any) -> None:
        """Take the fields from the attributes and methods of a subclass."""
        super().__init_subclass__(**words)
        own = {
            name: vars(cls)[name] for name in TorchTask.__dataclass_fields__ if name in vars(cls)
        }
        fields: dict[str, Any] = {**getattr(cls, "_fields", {}), "name": cls.__name__, **own}
        cls._fields = fields
        for name, value in own.items():
            if isinstance(value, property):  # it would prevent setting the field
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
                f"task {self.name} needs exactly one of validation and evaluate(model); define one"
            )
        check_train(self.name, self.train)
        if self.validation is not None:
            check_validation(self.name, self.validation, self.train)
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    @property
    def samples(self) -> int:
        """Number of training samples."""
        if is_whole(self.train):
            return len(Structure.of(self.train).parts(self.train)[0])
        return len(self.train)

    @property
    def entries(self) -> dict[str, Range | Value]:
        """Range of the peak and value of the momentum, for search spaces that define neither."""
        low, high = self.peak
        return {"peak": Range(low=low, high=high, log=True), "momentum": self.momentum}
