"""Checks of a task's data, so that unusable data are an error when the task is made."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from lrsearch.errors import RequestError
from lrsearch.tasks.structure import Structure, is_whole, structure_of, validation_parts

TENSORS = "a tuple or dict of tensors whose first axis is the sample, such as (inputs, targets)"
#: Number of samples of a dataset that are read when a task is made.
READ = 8


def check_train(task: str, train: Any) -> None:
    """Check the training data of a task.

    Raises:
        RequestError: it is neither tensors of equal length nor a map-style dataset with at least
            one sample, whose samples have the same parts of the same shapes.
    """
    allowed = f"{TENSORS}, or a map-style dataset"
    if isinstance(train, DataLoader):
        raise _refuse(task, "train", "a DataLoader", "its dataset; lrsearch draws the batches")
    if isinstance(train, IterableDataset):
        raise _refuse(task, "train", "a stream (IterableDataset)", allowed)
    if isinstance(train, list) and train and all(isinstance(t, Tensor) for t in train):
        raise _refuse(task, "train", "a list of tensors", allowed)
    if is_whole(train):
        _check_tensors(task, "train", train, _structure(task, "train", train))
        return
    if isinstance(train, Tensor | np.ndarray):
        raise _refuse(task, "train", _kind(train), allowed)
    if not hasattr(train, "__len__") or not hasattr(train, "__getitem__"):
        raise _refuse(task, "train", _kind(train), allowed)
    if not len(train):
        raise _refuse(task, "train", "empty", "at least one sample")
    _check_samples(task, train)


def check_validation(task: str, validation: Any, train: Any) -> None:
    """Check the validation data of a task.

    Args:
        task: name of the task.
        validation: its validation data.
        train: its training data, which have been checked.

    Raises:
        RequestError: it is not tensors of equal length with at least one sample, in the structure
            of a training sample or in a tuple.
    """
    if not is_whole(validation):
        allowed = f"{TENSORS}, or define evaluate(model)"
        raise _refuse(task, "validation", _kind(validation), allowed)
    own = _structure(task, "validation", validation)
    _check_tensors(task, "validation", validation, own)
    structure = structure_of(train)
    if structure.flat and own.flat:
        return
    try:
        validation_parts(validation, structure)
    except RequestError:
        listed = ", ".join(structure.names)
        raise RequestError(
            f"task {task}: validation has other parts than a sample of train ({listed}); give a "
            f"tensor for each, as in a sample or in a tuple of {len(structure.names)}"
        ) from None


def _structure(task: str, field: str, data: Any) -> Structure:
    try:
        return Structure.of(data)
    except RequestError as error:
        raise RequestError(f"task {task}: {field}{error}") from None


def _check_tensors(task: str, field: str, data: Any, structure: Structure) -> None:
    parts = structure.parts(data)
    for name, part in zip(structure.names, parts, strict=True):
        if isinstance(part, np.ndarray):
            raise _refuse(task, f"{field}{name}", "a NumPy array", "torch.from_numpy of it")
        if not isinstance(part, Tensor) or not part.dim():
            found = "a scalar" if isinstance(part, Tensor) else _kind(part)
            raise _refuse(task, f"{field}{name}", found, TENSORS)
    lengths = [len(part) for part in parts]
    if len(set(lengths)) > 1:
        listed = ", ".join(map(str, lengths))
        raise RequestError(
            f"task {task}: the tensors of {field} have {listed} rows; give one per sample in each"
        )
    if not lengths or not lengths[0]:
        raise _refuse(task, field, "empty", "at least one sample")


def _check_samples(task: str, train: Any) -> None:
    """Check that a few samples of a dataset, evenly spaced, have equal parts of equal shapes."""
    places = torch.linspace(0, len(train) - 1, min(READ, len(train))).round().long().tolist()
    samples = {index: train[index] for index in places}
    structure = _structure(task, "a sample of train", samples[0])
    if not structure.names:
        raise _refuse(task, "a sample of train", "empty", "at least one tensor")
    shapes: dict[int, list[tuple[int, ...]]] = {}
    for index, sample in samples.items():
        try:
            parts = structure.parts(sample)
        except RequestError as error:
            raise RequestError(f"task {task}: sample {index} of train{error}") from None
        shapes[index] = [tuple(np.shape(part)) for part in parts]
    first = shapes[0]
    for index, found in shapes.items():
        for name, a, b in zip(structure.names, first, found, strict=True):
            if a != b:
                raise RequestError(
                    f"task {task}: a sample of train{name} has shape {a} in sample 0, but {b} in "
                    f"sample {index}; pad or crop all samples to one shape"
                )


def _kind(value: object) -> str:
    name = type(value).__name__
    return {"Tensor": "a tensor", "ndarray": "a NumPy array"}.get(
        name, f"an object of type {name}"
    )


def _refuse(task: str, field: str, found: str, wanted: str) -> RequestError:
    return RequestError(f"task {task}: {field} is {found}; give {wanted}")
