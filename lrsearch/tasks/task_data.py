"""Checks of a task's data, so that unusable data are an error when the task is made."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from lrsearch.errors import RequestError

TENSORS = "a tuple of tensors whose first axis is the sample, such as (inputs, targets)"


def check_train(task: str, train: Any) -> None:
    """Check the training data of a task.

    Raises:
        RequestError: it is neither a tuple of tensors of equal length nor a map-style dataset with
            at least one sample.
    """
    allowed = f"{TENSORS}, or a map-style dataset"
    if isinstance(train, DataLoader):
        raise _refuse(task, "train", "a DataLoader", "its dataset; lrsearch draws the batches")
    if isinstance(train, IterableDataset):
        raise _refuse(task, "train", "a stream (IterableDataset)", allowed)
    if isinstance(train, list) and train and all(isinstance(t, Tensor) for t in train):
        raise _refuse(task, "train", "a list of tensors", allowed)
    if isinstance(train, tuple):
        _check_tensors(task, "train", train)
        return
    if isinstance(train, Tensor | np.ndarray):
        raise _refuse(task, "train", _kind(train), allowed)
    if not hasattr(train, "__len__") or not hasattr(train, "__getitem__"):
        raise _refuse(task, "train", _kind(train), allowed)
    if not len(train):
        raise _refuse(task, "train", "empty", "at least one sample")


def check_validation(task: str, validation: Any) -> None:
    """Check the validation data of a task.

    Raises:
        RequestError: it is not a tuple of tensors of equal length with at least one sample.
    """
    if not isinstance(validation, tuple):
        allowed = f"{TENSORS}, or define evaluate(model)"
        raise _refuse(task, "validation", _kind(validation), allowed)
    _check_tensors(task, "validation", validation)


def _check_tensors(task: str, field: str, parts: tuple[Any, ...]) -> None:
    for i, part in enumerate(parts):
        if isinstance(part, np.ndarray):
            found = f"a NumPy array in place {i}"
            raise _refuse(task, field, found, "torch.from_numpy of it")
        if not isinstance(part, Tensor):
            raise _refuse(task, field, f"a tuple with {_kind(part)} in place {i}", TENSORS)
        if not part.dim():
            raise _refuse(task, field, f"a tuple with a scalar in place {i}", TENSORS)
    lengths = [len(part) for part in parts]
    if len(set(lengths)) > 1:
        listed = ", ".join(map(str, lengths))
        raise RequestError(
            f"task {task}: the tensors of {field} have {listed} rows; give one per sample in each"
        )
    if not lengths or not lengths[0]:
        raise _refuse(task, field, "empty", "at least one sample")


def _kind(value: object) -> str:
    name = type(value).__name__
    return {"Tensor": "a tensor", "ndarray": "a NumPy array"}.get(
        name, f"an object of type {name}"
    )


def _refuse(task: str, field: str, found: str, wanted: str) -> RequestError:
    return RequestError(f"task {task}: {field} is {found}; give {wanted}")
