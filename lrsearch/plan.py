"""`Plan`: what a schedule draws for one run, as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrsearch.curves import Curve


@dataclass(frozen=True, eq=False)
class Plan:
    """What one run does at each of its T updates; iterating gives a pair `(lr, batch)` an update.

    Attributes:
        lr: learning rate, shape `[T]`, float64, read-only.
        batch: samples per update, shape `[T]`, int64, read-only.
        momentum: momentum (β1 for Adam), shape `[T]`, float64, read-only.
        overdamped: updates at which a critical momentum rule found ηλ ≥ 1 and fell back to
            momentum 0.

    Example:
        >>> schedule = lrsearch.Schedule(peak=0.1, warmup=0.5, decay="constant")
        >>> plan = schedule.plan(steps=4, batch=32)
        >>> plan.lr
        array([0.05, 0.1 , 0.1 , 0.1 ])
        >>> for lr, batch in plan:
        ...     print(lr, batch)
        0.05 32
        0.1 32
        0.1 32
        0.1 32
    """

    lr: Curve
    batch: NDArray[np.int64]
    momentum: Curve
    overdamped: int = 0

    def __post_init__(self) -> None:
        for name, dtype in (("lr", np.float64), ("batch", np.int64), ("momentum", np.float64)):
            view = np.asarray(getattr(self, name), dtype=dtype).view()
            view.setflags(write=False)
            object.__setattr__(self, name, view)

    def __len__(self) -> int:
        return len(self.lr)

    def __iter__(self) -> Iterator[tuple[float, int]]:
        return zip(self.lr.tolist(), self.batch.tolist(), strict=True)

    @classmethod
    def from_plain(cls, columns: Any) -> Plan:
        """Read what `to_plain` returns.

        Raises:
            ValueError: these are not three equally long lists of numbers.
        """
        lists = isinstance(columns, list) and all(isinstance(column, list) for column in columns)
        if not lists or len(columns) != 3 or len(set(map(len, columns))) != 1:
            raise ValueError("a plan has three columns of one length")
        kinds: list[set[type]] = [{int, float}, {int}, {int, float}]
        if not all(
            set(map(type, column)) <= kind for column, kind in zip(columns, kinds, strict=True)
        ):
            raise ValueError("a plan holds numbers alone, and batches are integers")
        try:
            plan = cls(*columns)
        except OverflowError as error:
            raise ValueError("a plan holds no such large number") from error
        if not all(np.isfinite(column).all() for column in (plan.lr, plan.momentum)):
            raise ValueError("a plan holds finite numbers alone")
        return plan

    def to_plain(self) -> list[list[float]]:
        """Return its three columns as lists, for JSON."""
        return [self.lr.tolist(), self.batch.tolist(), self.momentum.tolist()]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Plan):
            return NotImplemented
        pairs = ((self.lr, other.lr), (self.batch, other.batch), (self.momentum, other.momentum))
        return all(np.array_equal(mine, theirs) for mine, theirs in pairs)

    __hash__ = None  # type: ignore[assignment]  # arrays do not hash

    @property
    def samples(self) -> int:
        """The budget: training samples over the whole run."""
        return int(self.batch.sum())
