"""Schedules equal torch's schedulers of the same shape, to 1e-12 of the peak."""

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as ls

from lrsearch import Schedule

T = 97
PEAK = 0.3


def torch_rates(build, updates=T, peak=PEAK):
    """Return the rate of a torch scheduler at each step, in float64, shape `[updates]`."""
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


def check_same(schedule, build, updates=T):
    np.testing.assert_allclose(
        schedule.plan(updates).lr, torch_rates(build, updates), rtol=0, atol=1e-12 * PEAK
    )


def test_a_constant_rate_equals_torchs():
    check_same(Schedule(peak=PEAK, decay="constant"), lambda o: ls.ConstantLR(o, 1.0))


@pytest.mark.parametrize("drops", [1, 2, 4])
def test_step_decay_equals_torchs_for_pieces_of_equal_length(drops):
    updates = 30 * (drops + 1)
    check_same(
        Schedule(peak=PEAK, decay="step", drops=drops, gamma=0.3),
        lambda o: ls.StepLR(o, 30, gamma=0.3),
        updates,
    )


def test_exponential_decay_equals_torchs():
    check_same(
        Schedule(peak=PEAK, decay="exponential", rate=2.5),
        lambda o: ls.ExponentialLR(o, gamma=float(np.exp(-2.5 / T))),
    )


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_polynomial_decay_equals_torchs(power):
    check_same(
        Schedule(peak=PEAK, decay="polynomial", power=power),
        lambda o: ls.PolynomialLR(o, total_iters=T, power=power),
    )


def test_linear_decay_to_a_floor_equals_torchs():
    check_same(
        Schedule(peak=PEAK, decay="polynomial", floor=0.2),
        lambda o: ls.LinearLR(o, start_factor=1.0, end_factor=0.2, total_iters=T),
    )


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_cosine_decay_equals_torchs(floor):
    check_same(
        Schedule(peak=PEAK, decay="cosine", floor=floor),
        lambda o: ls.CosineAnnealingLR(o, T_max=T, eta_min=floor * PEAK),
    )


@pytest.mark.parametrize(("cycles", "growth", "first"), [(3, 1, 20), (4, 2, 7), (3, 3, 5)])
def test_warm_restarts_with_growing_cycles_equal_torchs(cycles, growth, first):
    updates = first * sum(growth**i for i in range(cycles))
    check_same(
        Schedule(peak=PEAK, decay="cosine", floor=0.05, cycles=cycles, cycle_growth=growth),
        lambda o: ls.CosineAnnealingWarmRestarts(o, first, T_mult=growth, eta_min=0.05 * PEAK),
        updates,
    )


@pytest.mark.parametrize("warm", [1, 10])
def test_warmup_then_cosine_equals_torchs_sequential_scheduler(warm):
    # LinearLR rises from start_factor at update 0 to 1 at update total_iters: the warmup (t+1)/W.
    def build(optimizer):
        rise = ls.LinearLR(optimizer, start_factor=1 / warm, total_iters=max(warm - 1, 1))
        fall = ls.CosineAnnealingLR(optimizer, T_max=100 - warm)
        return ls.SequentialLR(optimizer, [rise, fall], milestones=[warm])

    schedule = Schedule(peak=PEAK, warmup=warm / 100)
    np.testing.assert_allclose(
        schedule.plan(100).lr, torch_rates(build, 100), rtol=0, atol=1e-12 * PEAK
    )
