"""The family equals torch's own schedulers wherever torch has the shape, to 1e-12 of the peak."""

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as ls

from lrsearch import Schedule

T = 97
PEAK = 0.3


def torch_rates(build, updates=T, peak=PEAK):
    """The rate that a torch scheduler has in force at each update, float64, shape `[updates]`."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=peak)
    scheduler = build(optimizer)
    rates = []
    for _ in range(updates):
        rates.append(optimizer.param_groups[0]["lr"])
        weight.grad = torch.zeros(1)
        optimizer.step()
        scheduler.step()
    return np.array(rates)


def same(schedule, build, updates=T):
    np.testing.assert_allclose(
        schedule.plan(updates).lr, torch_rates(build, updates), rtol=0, atol=1e-12 * PEAK
    )


def test_constant():
    same(Schedule(peak=PEAK, decay="constant"), lambda o: ls.ConstantLR(o, 1.0))


@pytest.mark.parametrize("drops", [1, 2, 4])
def test_step_where_the_pieces_are_whole(drops):
    updates = 30 * (drops + 1)
    same(
        Schedule(peak=PEAK, decay="step", drops=drops, gamma=0.3),
        lambda o: ls.StepLR(o, 30, gamma=0.3),
        updates,
    )


def test_exponential():
    same(
        Schedule(peak=PEAK, decay="exponential", rate=2.5),
        lambda o: ls.ExponentialLR(o, gamma=float(np.exp(-2.5 / T))),
    )


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_polynomial(power):
    same(
        Schedule(peak=PEAK, decay="polynomial", power=power),
        lambda o: ls.PolynomialLR(o, total_iters=T, power=power),
    )


def test_linear_to_a_floor():
    same(
        Schedule(peak=PEAK, decay="polynomial", floor=0.2),
        lambda o: ls.LinearLR(o, start_factor=1.0, end_factor=0.2, total_iters=T),
    )


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_cosine(floor):
    same(
        Schedule(peak=PEAK, decay="cosine", floor=floor),
        lambda o: ls.CosineAnnealingLR(o, T_max=T, eta_min=floor * PEAK),
    )


@pytest.mark.parametrize(("cycles", "growth", "first"), [(3, 1, 20), (4, 2, 7), (3, 3, 5)])
def test_warm_restarts_with_growth(cycles, growth, first):
    updates = first * sum(growth**i for i in range(cycles))
    same(
        Schedule(peak=PEAK, decay="cosine", floor=0.05, cycles=cycles, cycle_growth=growth),
        lambda o: ls.CosineAnnealingWarmRestarts(o, first, T_mult=growth, eta_min=0.05 * PEAK),
        updates,
    )


@pytest.mark.parametrize("warm", [1, 10])
def test_warmup_then_cosine_chained(warm):
    # LinearLR runs from start_factor at update 0 to 1 at update total_iters, (t+1)/W there.
    def build(optimizer):
        rise = ls.LinearLR(optimizer, start_factor=1 / warm, total_iters=max(warm - 1, 1))
        fall = ls.CosineAnnealingLR(optimizer, T_max=100 - warm)
        return ls.SequentialLR(optimizer, [rise, fall], milestones=[warm])

    schedule = Schedule(peak=PEAK, warmup=warm / 100)
    np.testing.assert_allclose(
        schedule.plan(100).lr, torch_rates(build, 100), rtol=0, atol=1e-12 * PEAK
    )
