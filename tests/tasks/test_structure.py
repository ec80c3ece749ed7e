"""Samples may be dicts and nested tuples: the values are those of a tuple of the same tensors."""

import dataclasses
from collections import UserDict, namedtuple

import pytest
import torch
from torch.utils.data import Dataset

import lrsearch
from lrsearch.errors import RequestError
from lrsearch.tasks.structure import Structure

GENERATOR = torch.Generator().manual_seed(0)
IDS = torch.randint(0, 7, (96, 5), generator=GENERATOR)
MASK = (torch.rand(96, 5, generator=GENERATOR) < 0.8).float()
LABELS = IDS.float().mul(MASK).sum(1) / 10
Pair = namedtuple("Pair", ["tokens", "target"])


class Bag(torch.nn.Module):
    """A model that is called as in Hugging Face's libraries: model(**inputs)."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(7, 3)
        self.head = torch.nn.Linear(3, 1)

    def forward(self, input_ids, attention_mask):
        hidden = self.embedding(input_ids) * attention_mask[..., None]
        return self.head(hidden.sum(1))[:, 0]


def error(model, ids, mask, labels):
    return (model(input_ids=ids, attention_mask=mask) - labels).square()


class Samples(Dataset):
    """A map-style dataset whose samples are made by a function of the index."""

    def __init__(self, make):
        self.make = make

    def __len__(self):
        return len(IDS)

    def __getitem__(self, i):
        return self.make(i)


def words(sample):
    return {"input_ids": sample[0], "attention_mask": sample[1], "labels": sample[2]}


def by_name(model, batch):
    inputs = {name: part for name, part in batch.items() if name != "labels"}
    return (model(**inputs) - batch["labels"]).square()


def nested(model, batch):
    (ids, rest), labels = batch
    return error(model, ids, rest["mask"], labels)


WHOLE = (IDS, MASK, LABELS)
NESTED = ((IDS, {"mask": MASK}), LABELS)


def row(i):
    return IDS[i], MASK[i], LABELS[i]


def tokenized(i):
    """Return a sample as tokenizers of Hugging Face give it: lists and numbers."""
    return words((IDS[i].tolist(), MASK[i].tolist(), LABELS[i].numpy()))


#: Training data, validation data and loss of the same task.
KINDS = {
    "dict of tensors": (words(WHOLE), words(WHOLE), by_name),
    "dicts": (Samples(lambda i: words(row(i))), words(WHOLE), by_name),
    "dicts, tuple to validate": (Samples(lambda i: words(row(i))), WHOLE, by_name),
    "dict objects": (Samples(lambda i: UserDict(words(row(i)))), words(WHOLE), by_name),
    "other order": (words(WHOLE), dict(reversed(words(WHOLE).items())), by_name),
    "lists of numbers": (Samples(tokenized), words(WHOLE), by_name),
    "nested tensors": (NESTED, NESTED, nested),
    "nested samples": (
        Samples(lambda i: ((IDS[i], {"mask": MASK[i]}), LABELS[i])),
        NESTED,
        nested,
    ),
    "lists": (Samples(lambda i: [[IDS[i], {"mask": MASK[i]}], LABELS[i]]), WHOLE, nested),
    "arrays": (
        Samples(lambda i: tuple(part.numpy() for part in row(i))),
        WHOLE,
        lambda model, batch: error(model, *batch),
    ),
    "named tuples": (
        Samples(lambda i: Pair((IDS[i], MASK[i]), LABELS[i])),
        ((IDS, MASK), LABELS),
        lambda model, batch: error(model, *batch[0], batch[1]),
    ),
}


def task(train, validation, loss, **more):
    return lrsearch.TorchTask(
        name="bag",
        model=lambda generator: Bag(),
        loss=loss,
        train=train,
        validation=validation,
        peak=(1e-3, 1e-1),
        steps=12,
        batch=16,
        **more,
    )


def values(made, slots):
    words = {"space": "cosine", "trials": 3, "sampler": "random", "tracking_uri": "none"}
    result = lrsearch.tune(made, slots=slots, study=f"s{slots}", **words, compare=False)
    return [trial.value for trial in result.trials]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("flat"))
        plain = task(WHOLE, WHOLE, lambda model, batch: error(model, *batch))
        return {slots: values(plain, slots) for slots in (1, 4)}


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_a_structure_changes_no_value(tmp_path, monkeypatch, expected, kind, slots):
    monkeypatch.chdir(tmp_path)
    found = values(task(*KINDS[kind]), slots)
    assert found == pytest.approx(expected[slots], rel=1e-6)
    assert expected[4] == pytest.approx(expected[1], rel=1e-5)


def test_metrics_get_batches_in_their_structure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = task(*KINDS["dicts"], metrics=lambda model, batch: {"long": batch["labels"] > 1.0})
    for slots in (1, 4):
        words = {"space": "cosine", "trials": 2, "slots": slots, "study": f"m{slots}"}
        result = lrsearch.tune(made, tracking_uri="none", **words, compare=False)
        share = float((LABELS > 1.0).double().mean())
        assert result.best.diagnostics["long"] == pytest.approx(share)


def test_the_data_of_a_dict_are_compared_when_a_study_continues(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = task(words(WHOLE), words(WHOLE), by_name)
    values(made, 1)
    changed = dataclasses.replace(made, train=words((IDS, MASK, LABELS + 1)))
    with pytest.raises(RequestError, match="training data"):
        values(changed, 1)


def ragged(i):
    return {"ids": IDS[i][: 2 + i % 3], "label": LABELS[i]}


REFUSED = {
    "text": (
        Samples(lambda i: {"text": "a", "ids": IDS[i]}),
        "a sample of train['text'] is an object of type str; give tensors, arrays or numbers",
    ),
    "none": (Samples(lambda i: (IDS[i], None)), "a sample of train[1] is None; give tensors,"),
    "ragged": (
        Samples(ragged),
        "a sample of train['ids'] has shape (2,) in sample 0, but (4,) in sample 14; pad or crop",
    ),
    "other keys": (
        Samples(lambda i: {"ids": IDS[i], **({"label": 0} if i < 50 else {"tag": 0})}),
        "sample 54 of train is a dict of 'ids', 'tag', unlike in the first sample; give all",
    ),
    "other length": (
        Samples(lambda i: (IDS[i],) * (2 if i < 50 else 3)),
        "sample 54 of train is a tuple of 3 parts, unlike in the first sample; give all",
    ),
    "other part": (
        Samples(lambda i: (IDS[i], 0 if i < 50 else {"a": 0})),
        "sample 54 of train[1] is a dict of 'a', unlike in the first sample; give all",
    ),
    "nothing": (Samples(lambda i: {}), "a sample of train is empty; give at least one tensor"),
    "dict of arrays": ({"x": IDS.numpy(), "y": LABELS}, "train['x'] is a NumPy array; give torch"),
    "dict of sets": (
        {"train": Samples(row), "test": Samples(row)},
        "train['train'] is an object of type Samples; give tensors, arrays or numbers",
    ),
    "dict of unequal": (
        {"x": IDS, "y": LABELS[:5]},
        "the tensors of train have 96, 5 rows; give one per sample in each",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_samples_that_no_batch_can_hold_are_refused_and_the_field_is_named(case):
    train, message = REFUSED[case]
    with pytest.raises(RequestError) as refused:
        task(train, WHOLE, by_name)
    assert str(refused.value).startswith(f"task bag: {message}")


@pytest.mark.parametrize("validation", [(IDS, MASK), {"input_ids": IDS, "labels": LABELS}, NESTED])
def test_validation_data_with_other_parts_are_refused(validation):
    with pytest.raises(RequestError) as refused:
        task(words(WHOLE), validation, by_name)
    assert str(refused.value).startswith(
        "task bag: validation has other parts than a sample of train "
        "(['input_ids'], ['attention_mask'], ['labels']); give a tensor for each, as in a sample"
    )


def test_a_structure_builds_what_it_took_apart():
    sample = ({"b": 1, "a": [IDS, (MASK, 2.5)]}, [LABELS])
    structure = Structure.of(sample)
    assert structure.build(structure.parts(sample)) == sample
    assert structure.names == (
        "[0]['b']",
        "[0]['a'][0]",
        "[0]['a'][1][0]",
        "[0]['a'][1][1]",
        "[1][0]",
    )
