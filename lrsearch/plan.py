"""`Plan`: learning rate, batch size and momentum of every step of a run, as arrays."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrsearch.curves import Curve


class _Column(np.ndarray):
    """An array whose elements are Python numbers.

    Users pass elements of a plan to a DataLoader, to an optimizer and to checkpoints, and torch
    refuses NumPy scalars in some of these places. Results of arithmetic are plain arrays.
    """

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        return value.item() if isinstance(value, np.generic) else value

    def __array_wrap__(
        self, array: np.ndarray, context: Any = None, return_scalar: bool = False
    ) -> Any:
        plain = np.asarray(array)
        return plain[()] if return_scalar else plain

    def __repr__(self) -> str:
        return repr(np.asarray(self))


@dataclass(frozen=True, eq=False)
class Plan:
    """Learning rate, batch size and momentum of each of the T steps of a run.

    Iteration yields one pair `(lr, batch)` per step.

    Attributes:
        lr: learning rate, shape `[T]`, float64, read-only.
        batch: batch size in samples, shape `[T]`, int64, read-only.
        momentum: momentum (β1 for Adam), shape `[T]`, float64, read-only.
        overdamped: number of steps with ηλ ≥ 1, where a critical momentum rule uses momentum 0.

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
            view = np.asarray(getattr(self, name), dtype=dtype).view(_Column)
            view.setflags(write=False)
            object.__setattr__(self, name, view)

    def __len__(self) -> int:
        return len(self.lr)

    def __iter__(self) -> Iterator[tuple[float, int]]:
        return zip(self.lr.tolist(), self.batch.tolist(), strict=True)

    @classmethod
    def from_plain(cls, columns: Any) -> Plan:
        """Return the plan of which these are the `to_plain` columns.

        Raises:
            ValueError: `columns` is not a list of three lists of numbers of equal length.
        """
        lists = isinstance(columns, list) and all(isinstance(column, list) for column in columns)
        if not lists or len(columns) != 3 or len(set(map(len, columns))) != 1:
            raise ValueError("a plan needs three columns of equal length")
        kinds: list[set[type]] = [{int, float}, {int}, {int, float}]
        if not all(
            set(map(type, column)) <= kind for column, kind in zip(columns, kinds, strict=True)
        ):
            raise ValueError("a plan needs numbers, and integers for the batches")
        try:
            plan = cls(*columns)
        except OverflowError as error:
            raise ValueError("a number of the plan is too large") from error
        if not all(np.isfinite(column).all() for column in (plan.lr, plan.momentum)):
            raise ValueError("a plan needs finite numbers")
        return plan

    def to_plain(self) -> list[list[float]]:
        """Return the columns `lr`, `batch` and `momentum` as lists, for JSON."""
        return [self.lr.tolist(), self.batch.tolist(), self.momentum.tolist()]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Plan):
            return NotImplemented
        pairs = ((self.lr, other.lr), (self.batch, other.batch), (self.momentum, other.momentum))
        return all(np.array_equal(mine, theirs) for mine, theirs in pairs)

    __hash__ = None  # type: ignore[assignment]  # arrays do not hash

    @property
    def samples(self) -> int:
        """The number of training samples in the whole run."""
        return int(self.batch.sum())


def csv_text(plan: Plan) -> str:
    """Return a plan as CSV with the columns `update,lr,batch,momentum`, one row per step.

    Numbers have full precision, so reading them gives the same float64 values.

    Args:
        plan: the plan.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("update", "lr", "batch", "momentum"))
    rows = zip(*plan.to_plain(), strict=True)
    writer.writerows((t, *row) for t, row in enumerate(rows))
    return text.getvalue()
