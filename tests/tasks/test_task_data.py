"""Data that a task cannot use are an error when the task is made, which names the field."""

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from lrsearch import TorchTask
from lrsearch.errors import RequestError

X = torch.linspace(-1, 1, 64)[:, None]
PAIR = (X, 2 * X)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(*PAIR, strict=True))


class Pairs(Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i], 2 * X[i]


def make(**data):
    return TorchTask(
        name="line",
        model=lambda generator: torch.nn.Linear(1, 1),
        loss=lambda model, batch: (model(batch[0]) - batch[1]).square()[:, 0],
        peak=(1e-3, 1.0),
        **{"train": PAIR, "validation": PAIR, **data},
    )


REFUSED = {
    "loader": ({"train": DataLoader(TensorDataset(*PAIR))}, "train is a DataLoader; give its"),
    "stream": ({"train": Stream()}, "train is a stream"),
    "list": ({"train": [X, X]}, "train is a list of tensors; give a tuple or dict of"),
    "tensor": ({"train": X}, "train is a tensor; give a tuple or dict of tensors"),
    "array": ({"train": X.numpy()}, "train is a NumPy array; give a tuple or dict of"),
    "arrays": ({"train": (X, X.numpy())}, "train[1] is a NumPy array; give torch.from_"),
    "unequal": (
        {"train": (X, X[:3])},
        "the tensors of train have 64, 3 rows; give one per sample",
    ),
    "scalar": ({"train": (X, X[0, 0])}, "train[1] is a scalar; give a tuple or dict of tensors"),
    "empty": ({"train": (X[:0], X[:0])}, "train is empty; give at least one sample"),
    "no parts": ({"train": ()}, "train is empty; give at least one sample"),
    "empty set": ({"train": TensorDataset(X[:0])}, "train is empty; give at least one sample"),
    "number": ({"train": 3}, "train is an object of type int; give a tuple or dict"),
    "validation set": (
        {"validation": Pairs()},
        "validation is an object of type Pairs; give a tuple",
    ),
    "validation arrays": (
        {"validation": (X.numpy(), X)},
        "validation[0] is a NumPy array; give torch.from_",
    ),
    "validation list": (
        {"validation": [X, X]},
        "validation is an object of type list; give a tuple or",
    ),
    "validation unequal": (
        {"validation": (X, X[:5])},
        "the tensors of validation have 64, 5 rows",
    ),
    "validation empty": ({"validation": (X[:0], X[:0])}, "validation is empty; give"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unusable_data_are_refused_when_the_task_is_made(case):
    data, message = REFUSED[case]
    with pytest.raises(RequestError, match=r"^task line: ") as refused:
        make(**data)
    assert message in str(refused.value)


@pytest.mark.parametrize("train", [PAIR, Pairs(), TensorDataset(*PAIR), list(Pairs())])
def test_usable_data_are_accepted(train):
    assert make(train=train).samples == 64
