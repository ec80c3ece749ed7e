"""Diagnostics never stop a search or change a run, even with unusual models."""

import logging
import time

import pytest
import torch
from torch import nn

from lrsearch import Schedule, TorchTask
from lrsearch.contract import Probes
from lrsearch.diagnostics.svm_margin import svm_direction
from lrsearch.tasks.digits import he_initialise
from tests.torch_doubles import ends


def test_data_that_are_not_separable_are_detected_quickly():
    """A linear program decides it. The solver of the machine would take a minute here."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(800, 12, generator=draw), torch.arange(800) % 5
    began = time.perf_counter()
    assert svm_direction(x.numpy(), y.numpy()) is None
    assert time.perf_counter() - began < 30


@pytest.mark.parametrize("labels", ["one class", "counts", "signs"])
@pytest.mark.parametrize("slots", [1, 2])
def test_integer_targets_other_than_classes_have_no_margin(labels, slots):
    x = torch.linspace(-1, 1, 40)[:, None]
    given = {
        "one class": torch.zeros(40, dtype=torch.int64),
        "counts": torch.arange(40),
        "signs": torch.arange(40) % 2 * 2 - 1,
    }[labels]

    def loss(model, batch):
        return (model(batch[0]).sum(-1) - batch[1]).square()

    task = TorchTask(
        name="targets",
        model=lambda g: he_initialise(nn.Linear(1, 2), g),
        loss=loss,
        train=(x, given),
        validation=(x, given),
        peak=(1e-4, 1e-2),
    )
    found = ends(task, [Schedule(peak=1e-4)] * 2, slots=slots)
    assert "margin" not in found[0].figures
    assert "sharpness" in found[0].figures


class _Odd(nn.Module):
    """A model with a scalar, an unused and an embedding parameter that draws and counts calls."""

    def __init__(self, generator):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.unused = nn.Parameter(torch.ones(3))
        self.table = nn.Embedding(8, 1, sparse=self.SPARSE)
        nn.init.normal_(self.table.weight, generator=generator)
        self.register_buffer("seen", torch.zeros(()))

    SPARSE = False

    def forward(self, index):
        self.seen += 1
        noise = 0.01 * torch.randn(len(index))
        return self.scale * self.table(index)[:, 0] + noise + 1e-3 * self.seen


class _Sparse(_Odd):
    SPARSE = True


@pytest.mark.parametrize(
    ("model", "optimizer"), [(_Odd, "sgd"), (_Odd, "adam"), (_Odd, "adamw"), (_Sparse, "sgd")]
)
def test_diagnostics_do_not_change_the_training_of_odd_models(model, optimizer):
    index = torch.arange(48) % 8
    task = TorchTask(
        name="odd",
        model=model,
        loss=lambda model, batch: (model(batch[0]) - batch[0] / 8).square(),
        train=(index,),
        validation=(index,),
        optimizer=optimizer,
        peak=(1e-4, 1e-1),
        momentum=0.0,
    )
    schedules = [Schedule(peak=1e-2)]
    seen = ends(task, schedules, slots=1)[0]
    plain = ends(task, schedules, slots=1, probes=Probes())[0]
    assert seen.state == "finished"
    assert seen.value == plain.value
    assert seen.traces["loss"] == plain.traces["loss"]
    assert seen.figures["largest_update"] > 0
    if model is _Odd:
        assert seen.figures["weight_norm"] > 1


def test_a_curvature_that_is_never_finite_is_not_reported():
    """The norm of a vector has no second derivative at 0, where this task stays."""
    x = torch.zeros(32, 2)

    def loss(model, batch):
        return model(batch[0]).norm(dim=-1)

    def model(generator):
        line = nn.Linear(2, 2, bias=False)
        nn.init.zeros_(line.weight)
        return line

    task = TorchTask(
        name="zero", model=model, loss=loss, train=(x,), validation=(x,), peak=(0.01, 1.0)
    )
    found = ends(task, [Schedule(peak=0.1)] * 2, slots=2)[0]
    assert found.state == "finished"
    assert "sharpness" not in found.figures
    assert found.figures["noise_rise"] == 0  # finite numbers are reported


class _NoSecond(torch.autograd.Function):
    """A square whose gradient cannot be differentiated again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x * x

    @staticmethod
    def setup_context(context, inputs, output):
        context.save_for_backward(inputs[0])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return 2 * x * gradient


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("place", ["last", "middle"])
def test_a_loss_without_second_derivatives_is_still_trained(slots, place, caplog):
    def loss(model, batch):
        bent = _NoSecond.apply(model(batch[0]) - 1.0)[..., 0]
        return bent if place == "last" else (bent - 0.5).square()

    x = torch.linspace(-1, 1, 32)[:, None]
    task = TorchTask(
        name="once",
        model=lambda g: he_initialise(nn.Linear(1, 1), g),
        loss=loss,
        train=(x,),
        validation=(x,),
        peak=(0.01, 1.0),
    )
    with caplog.at_level(logging.WARNING, "lrsearch"):
        found = ends(task, [Schedule(peak=0.02), Schedule(peak=0.05)], slots=slots)
    assert {o.state for o in found.values()} == {"finished"}
    assert "sharpness" not in found[0].figures
    assert "largest_update" in found[0].figures
    assert sum("landscape of task once is not measured" in r.message for r in caplog.records) == 1
