"""The structure of samples: nested dicts, tuples and lists of tensors, as in many datasets.

Training works on flat tuples of tensors. A structure flattens a sample into its parts, in their
order, and builds the batch that the loss of the task expects.
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrsearch.errors import RequestError

#: What the parts of a sample may be.
PARTS = "tensors, arrays or numbers in tuples, lists or dicts"


@dataclass(frozen=True)
class Structure:
    """The structure of one sample, or of data whose first axis is the sample.

    Attributes:
        shape: the sample with the number of each part in its place.
        names: where each part stands, such as `['inputs'][0]`.
    """

    shape: Any
    names: tuple[str, ...]

    @classmethod
    def of(cls, sample: Any) -> Structure:
        """Return the structure of a sample.

        Raises:
            RequestError: a part is neither a tensor, an array nor a number; the message begins
                with its name, and needs the name of the data before it.
        """
        names: list[str] = []
        shape = _shape(sample, "", names)
        return cls(shape=shape, names=tuple(names)) if names != [""] else cls((0,), ("",))

    @property
    def flat(self) -> bool:
        """True if a sample is a tuple of its parts."""
        return bool(self.shape == tuple(range(len(self.names))))

    def parts(self, sample: Any) -> tuple[Any, ...]:
        """Return the parts of a sample, lists of numbers as tensors.

        Raises:
            RequestError: the sample has another structure.
        """
        if self.names == ("",):
            return tuple(_parts(sample, 0, ""))
        return tuple(_parts(sample, self.shape, ""))

    def build(self, parts: Sequence[Any]) -> Any:
        """Return the sample or batch whose parts are given."""
        return _build(self.shape, parts)


@dataclass(frozen=True, eq=False)
class FlatSamples:
    """A map-style dataset whose samples are the parts of another dataset's samples.

    Attributes:
        data: the other dataset.
        structure: structure of its samples.
    """

    data: Any
    structure: Structure

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Return the parts of a sample."""
        return self.structure.parts(self.data[index])


@dataclass(frozen=True, eq=False)
class Structured:
    """A function of a model and a batch, called with the parts of the batch.

    Attributes:
        function: the function.
        structure: structure of the batch that it expects.
    """

    function: Any
    structure: Structure

    def __call__(self, model: Any, batch: Sequence[Tensor]) -> Any:
        """Call the function with the batch in its own structure."""
        return self.function(model, self.structure.build(batch))


def is_whole(train: Any) -> bool:
    """Return whether data hold all samples in tensors, and are not a dataset of samples."""
    return isinstance(train, tuple | dict)


def structure_of(train: Any) -> Structure:
    """Return the structure of training data: that of its tensors, or of a dataset's sample."""
    return Structure.of(train if is_whole(train) else train[0])


def flat_task(task: Any) -> Any:
    """Return a `TorchTask` with flat data, whose loss and metrics get batches in its structure."""
    whole, structure = is_whole(task.train), structure_of(task.train)
    if whole and structure.flat:
        return task
    changes: dict[str, Any] = {
        "train": structure.parts(task.train) if whole else FlatSamples(task.train, structure)
    }
    if not structure.flat:
        changes["loss"] = Structured(task.loss, structure)
        if task.metrics is not None:
            changes["metrics"] = Structured(task.metrics, structure)
        if task.validation is not None:
            changes["validation"] = validation_parts(task.validation, structure)
    return dataclasses.replace(task, **changes)


def validation_parts(validation: Any, structure: Structure) -> tuple[Any, ...]:
    """Return the parts of validation data: a tuple of all parts, or the structure of a sample.

    Raises:
        RequestError: it is neither.
    """
    own = Structure.of(validation)
    if own.flat and len(own.names) == len(structure.names):
        return own.parts(validation)
    return structure.parts(validation)


def _is_vector(value: Any) -> bool:
    """Return whether a value is a list of numbers, or of such lists."""
    return isinstance(value, list) and all(_is_number(v) or _is_vector(v) for v in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Number | np.generic)


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    return iter(value.items() if isinstance(value, Mapping) else enumerate(value))


def _shape(value: Any, name: str, names: list[str]) -> Any:
    """Return a sample with numbers in place of its parts, and append their names."""
    if isinstance(value, Tensor | np.ndarray) or _is_number(value) or _is_vector(value):
        names.append(name)
        return len(names) - 1
    if not isinstance(value, Mapping | tuple | list):
        kind = "None" if value is None else f"an object of type {type(value).__name__}"
        raise RequestError(f"{name} is {kind}; give {PARTS}")
    found = {key: _shape(part, f"{name}[{key!r}]", names) for key, part in _items(value)}
    if isinstance(value, Mapping):
        return found
    return type(value)(found.values()) if type(value) in (tuple, list) else tuple(found.values())


def _parts(value: Any, shape: Any, name: str) -> Iterator[Any]:
    """Yield the parts of a sample in the order of a shape."""
    if isinstance(shape, int):
        if not isinstance(value, Tensor | np.ndarray) and not _is_number(value):
            if not _is_vector(value):
                raise _differs(value, name)
            value = torch.tensor(value)
        yield value
        return
    kind, keys = (Mapping, set(shape)) if isinstance(shape, dict) else (Sequence, len(shape))
    if not isinstance(value, kind) or (set(value) if kind is Mapping else len(value)) != keys:
        raise _differs(value, name)
    for key, part in _items(shape):
        yield from _parts(value[key], part, f"{name}[{key!r}]")


def _differs(value: Any, name: str) -> RequestError:
    kind = f"an object of type {type(value).__name__}"
    if isinstance(value, Mapping):
        kind = f"a dict of {', '.join(map(repr, value))}"
    elif isinstance(value, tuple | list):
        kind = f"a {type(value).__name__} of {len(value)} parts"
    return RequestError(f"{name} is {kind}, unlike in the first sample; give all the same parts")


def _build(shape: Any, parts: Sequence[Any]) -> Any:
    if isinstance(shape, int):
        return parts[shape]
    if isinstance(shape, dict):
        return {key: _build(part, parts) for key, part in shape.items()}
    return type(shape)(_build(part, parts) for part in shape)
