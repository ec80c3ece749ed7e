"""Diagnostics of trials: their cost, their correctness, and that they change no run."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import lrsearch
from lrsearch import Outcome, Schedule, TorchTask
from lrsearch.cli import cli
from lrsearch.codec import decode, encode
from lrsearch.contract import LEVELS, Probes
from lrsearch.diagnostics.costs import COSTS
from lrsearch.diagnostics.diagnosis import Diagnosis
from lrsearch.diagnostics.names import DIAGNOSTICS
from lrsearch.errors import RequestError
from lrsearch.objectives.builtin import make
from lrsearch.tasks.digits import cross_entropy, digits
from lrsearch.tasks.toys import two_moons
from lrsearch.training.population import Population
from tests.torch_doubles import FULL, GROUP, ends, exact_task


def same(a, b, rtol=1e-7):
    assert a.figures.keys() == b.figures.keys()
    for name in a.figures:
        assert a.figures[name] == pytest.approx(b.figures[name], rel=rtol, abs=1e-9), name
    assert a.traces.keys() == b.traces.keys()
    for name in a.traces:
        assert a.traces[name].updates == b.traces[name].updates
        np.testing.assert_allclose(a.traces[name].values, b.traces[name].values, rtol=rtol)


@pytest.mark.parametrize("changes", [{}, {"optimizer": "nesterov"}, {"optimizer": "adam"}])
def test_a_population_and_a_plain_loop_measure_the_same(changes):
    task = exact_task(weight_decay=1e-3, clip=1.0, **changes)
    scale = 0.02 if changes.get("optimizer") == "adam" else 1.0
    schedules = [dataclasses.replace(s, peak=s.peak * scale) for s in GROUP]
    crowd, single = ends(task, schedules, slots=3), ends(task, schedules, slots=1)
    for trial in single:
        same(crowd[trial], single[trial], rtol=1e-6)
    assert {"sharpness", "trace", "noise_rise", "worst_rise"} <= crowd[0].figures.keys()


def test_diagnostics_do_not_depend_on_the_other_runs_of_a_population():
    task = exact_task()
    few, many = (ends(task, GROUP, slots=slots) for slots in (2, 5))
    for trial in few:
        same(few[trial], many[trial])


def test_norms_are_the_same_if_those_of_all_rows_are_taken_at_every_step(monkeypatch):
    """A CUDA graph takes the norms of all rows at every step. The kept norms are the same."""
    task = exact_task()
    plain = ends(task, GROUP, slots=3)
    monkeypatch.setattr(Population, "_watched", lambda self, due: slice(None))
    for trial, outcome in ends(task, GROUP, slots=3).items():
        assert outcome.traces == plain[trial].traces


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("level", ["cheap", "full"])
def test_diagnostics_change_no_bit_of_values_and_losses(slots, level):
    task = digits(hidden=16, held_out=0.3, weight_decay=0.0)
    seen = ends(task, GROUP, slots=slots, probes=Diagnosis(level))
    plain = ends(task, GROUP, slots=slots, probes=Probes())
    for trial, outcome in plain.items():
        assert seen[trial].value == outcome.value
        assert seen[trial].traces["loss"] == outcome.traces["loss"]
        assert seen[trial].traces.get("val_loss") == outcome.traces.get("val_loss")


def test_sharpness_is_that_of_the_trained_network():
    """The network is trained by hand, and torch.func computes its full Hessian."""
    task = exact_task()
    schedule = Schedule(peak=0.2, decay="polynomial")
    outcome = ends(task, [schedule], slots=2)[0]
    plan = schedule.with_momentum(0.9).plan(60, 16)
    from lrsearch.seeding import stream
    from lrsearch.training.data_order import sample_order

    model = task.model(torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=1, momentum=0.9)
    order = torch.from_numpy(sample_order(0, task.samples, plan.samples))
    start = [p.detach().clone() for p in model.parameters()]
    norms = []
    for t, (lr, batch) in enumerate(plan):
        rows = order[16 * t : 16 * t + batch]
        optimizer.param_groups[0]["lr"] = lr
        loss = task.loss(model, tuple(part[rows] for part in task.train)).mean()
        optimizer.zero_grad()
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item()
        before = torch.cat([p.detach().flatten() for p in model.parameters()])
        optimizer.step()
        after = torch.cat([p.detach().flatten() for p in model.parameters()])
        way = (after - torch.cat([p.flatten() for p in start])).norm().item()
        norms.append((gradient, (after - before).norm().item(), way))
    kept = sorted(FULL.norms(60, 16))
    assert outcome.traces["gradient_norm"].updates == tuple(kept)
    np.testing.assert_allclose(
        outcome.traces["gradient_norm"].values, [norms[t][0] for t in kept], rtol=1e-5
    )
    assert outcome.figures["largest_update"] == pytest.approx(
        max(norms[t][1] for t in kept), rel=1e-5
    )
    assert outcome.figures["largest_deviation"] == pytest.approx(
        max(norms[t][2] for t in kept), rel=1e-5
    )
    rows = torch.from_numpy(stream(0, "landscape").permutation(task.samples))
    batch = tuple(part[rows[: FULL.samples(16, task.samples)]] for part in task.train)
    names = [n for n, _ in model.named_parameters()]
    sizes = [p.numel() for p in model.parameters()]
    shapes = [p.shape for p in model.parameters()]

    def loss_at(flat):
        parts = [p.view(s) for p, s in zip(flat.split(sizes), shapes, strict=True)]
        call = torch.func.functional_call
        return cross_entropy(
            lambda x: call(model, dict(zip(names, parts, strict=True)), (x,)), batch
        ).mean()

    here = torch.cat([p.detach().flatten() for p in model.parameters()])
    dense = torch.func.hessian(loss_at)(here)
    top = torch.linalg.eigvalsh(dense)[-1].item()
    assert outcome.figures["sharpness"] == pytest.approx(top, rel=5e-3)
    assert outcome.figures["stability_ratio"] == pytest.approx(
        plan.lr[-1] * outcome.figures["sharpness"] / (2 * 1.9), rel=1e-9
    )
    assert (
        abs(outcome.figures["trace"] - dense.trace().item()) < 5 * outcome.figures["trace_error"]
    )
    assert outcome.figures["weight_norm"] == pytest.approx(here.norm().item(), rel=1e-9)


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov"])
def test_training_a_quadratic_diverges_beyond_the_edge_of_stability(optimizer):
    """The run converges at .97 of the limit and diverges at 1.03, and the ratio shows both."""
    points = torch.eye(4).double() * torch.tensor([1.0, 2.0, 3.0, 4.0]).double().sqrt() * 2

    def squares(model, batch):
        return 0.5 * (model(batch[0])[..., 0]).square()

    def model(generator):
        line = nn.Linear(4, 1, bias=False).double()
        nn.init.ones_(line.weight)
        return line

    task = TorchTask(
        name="bowl",
        model=model,
        loss=squares,
        train=(points,),
        validation=(points,),
        optimizer=optimizer,
        momentum=0.8,
        peak=(0.01, 10.0),
        positive=True,
    )
    # ½ mean of (4·λ_i)x_i² over four samples: the largest eigenvalue is 4.
    limit = {"sgd": 2 * 1.8, "nesterov": 2 * 1.8 / 2.6}[optimizer] / 4
    found = ends(
        task,
        [Schedule(peak=f * limit, decay="constant") for f in (0.97, 1.03)],
        slots=2,
        steps=400,
        batch=4,
        stops=False,
    )
    assert found[0].value < 1e-2
    assert found[0].figures["stability_ratio"] == pytest.approx(0.97, rel=1e-3)
    assert found[1].value > 1e2
    assert found[1].figures["stability_ratio"] == pytest.approx(1.03, rel=1e-3)


def test_the_margin_of_a_linear_classifier_is_measured():
    task = two_moons(hidden=0, noise=0.05)
    x, y = task.train
    apart = (x + torch.where(y[:, None] == 1, 3.0, -3.0), y)
    task = dataclasses.replace(task, train=apart, validation=apart)
    schedules = [Schedule(peak=0.1, decay="constant")] * 2
    soon, late = (ends(task, schedules, slots=2, steps=steps)[0].figures for steps in (50, 1000))
    assert 0 < soon["margin"] < late["margin"]
    assert late["svm_angle"] < soon["svm_angle"] < math.pi / 2
    alone = ends(task, schedules, slots=1, steps=50)[0].figures
    assert alone["svm_angle"] == pytest.approx(soon["svm_angle"], rel=1e-3)
    moons = ends(two_moons(hidden=0, noise=0.2), schedules, slots=2, steps=50)
    assert "margin" in moons[0].figures
    assert "svm_angle" not in moons[0].figures  # they are not separable
    assert "margin" not in ends(two_moons(hidden=4, noise=0.2), schedules, slots=2)[0].figures


@pytest.mark.parametrize("level", ["cheap", "full"])
def test_the_cost_of_measurements_stays_within_the_share_of_the_level(level):
    """The exception is the measurement at the end of short runs, which `full` always makes."""
    diagnosis, share = Diagnosis(level), {"cheap": 0.1, "full": 1.0}[level]
    for updates, batch in itertools.product((20, 100, 400, 5000), (1, 8, 64, 1024)):
        agenda, norms = diagnosis.agenda(updates, batch, 10_000), diagnosis.norms(updates, batch)
        each = max(diagnosis.samples(batch, 10_000) / batch, 1)
        cost = (0.1 + 5 / batch) * len(norms)
        assert cost <= 0.3 * share * updates or len(norms) == 1
        cost += each * sum(COSTS[part] for parts in agenda.values() for part in parts)
        if level == "cheap" or each * sum(COSTS.values()) < 0.6 * updates:
            assert cost <= share * updates or not agenda[updates]
        assert max(agenda) == updates
        assert min(agenda) > 0


def test_full_measures_everything_and_cheap_only_what_its_share_allows():
    everything = frozenset(COSTS)
    assert FULL.agenda(20, 64, 1000)[20] == everything
    assert len(FULL.agenda(400, 64, 1000)) > 8  # enough for a curve
    cheap = Diagnosis("cheap")
    assert cheap.agenda(400, 64, 1000)[400] == everything - {"trace", "margin"}
    assert len(cheap.agenda(20_000, 64, 1000)) > 8
    assert cheap.agenda(20, 64, 1000)[20] <= {"noise"}
    assert len(cheap.norms(2_000, 1)) < len(cheap.norms(2_000, 64)) == 64


def test_every_level_measures_more_than_the_level_below():
    names = {}
    for level in LEVELS:
        result = lrsearch.tune(
            "two-moons",
            trials=2,
            steps=100,
            tracking_uri="none",
            diagnostics=level,
            study=level,
            compare=False,
        )
        names[level] = set(result.best.diagnostics)
    assert names["none"] == {"accuracy"}
    assert names["none"] < names["schedule"] < names["cheap"] < names["full"]
    assert "total_variation" in names["schedule"]
    assert "largest_deviation" in names["cheap"]
    assert {"sharpness", "trace", "noise_rise"} <= names["full"]
    assert set.union(*names.values()) - {"accuracy"} <= set(DIAGNOSTICS)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_documented_diagnostics_are_exactly_those_that_are_measured():
    task = two_moons(hidden=0, noise=0.05)
    x, y = task.train
    apart = (x + torch.where(y[:, None] == 1, 3.0, -3.0), y)
    task = dataclasses.replace(task, train=apart, validation=apart, weight_decay=1e-3)
    found = set(ends(task, GROUP[:2], slots=2, steps=200)[0].figures)
    proxy = lrsearch.tune(
        "quadratic", trials=2, tracking_uri="none", compare=False
    ).best.diagnostics
    found |= set(proxy) - {"accuracy"}
    assert found - {"accuracy"} == set(DIAGNOSTICS)
    assert proxy["time_above_limit"] == 0  # its range of peaks ends at the limit


def test_a_proxy_uses_its_known_curvature():
    result = lrsearch.tune(
        "quadratic",
        trials=1,
        settings={"peak": 20.0, "warmup": 0.0},
        tracking_uri="none",
        compare=False,
    )
    plan = result.trials[0].schedule.plan(200, 4)
    above = (plan.lr > 2 / 0.163283).mean()
    assert result.trials[0].diagnostics["time_above_limit"] == pytest.approx(above)
    assert above > 0.3


def test_a_function_gets_the_diagnostics_of_its_schedule_and_its_losses():
    @lrsearch.objective(peak=(0.1, 1.0), steps=100)
    def spiky(run):
        for t, _ in enumerate(run.plan):
            run.report(t, 1.0 if t != 50 else 1.9)
        run.note("total_variation", 7.0)
        return 0.5

    best = lrsearch.tune(spiky, trials=1, tracking_uri="none", compare=False).best
    assert best.diagnostics["spikes"] == 1
    assert best.diagnostics["total_variation"] == 7.0  # the function's own figure has precedence
    assert "rate_sum" in best.diagnostics


def test_an_outcome_contains_the_time_of_its_measurements():
    task = digits(hidden=16, held_out=0.3, weight_decay=0.0)
    for slots in (1, 3):
        found = ends(task, GROUP[:2], slots=slots)
        assert all(0 < o.probing < o.seconds for o in found.values())
        kept = decode(Outcome, json.loads(json.dumps(encode(found[0]))))
        assert kept.probing == found[0].probing
    assert ends(task, GROUP[:2], slots=2, probes=Probes())[0].probing == 0


def test_a_study_can_be_continued_at_another_level():
    first = lrsearch.tune("two-moons", trials=2, steps=60, tracking_uri="none", compare=False)
    second = lrsearch.tune(
        "two-moons", trials=3, steps=60, tracking_uri="none", diagnostics="none", compare=False
    )
    assert second.trials[:2] == first.trials
    assert set(second.trials[2].diagnostics) == {"accuracy"}


def test_an_unknown_level_is_rejected_before_anything_starts():
    with pytest.raises(RequestError, match="`diagnostics=` is 'all'; known: cheap, full, none"):
        lrsearch.tune("digits", diagnostics="all", compare=False)
    assert CliRunner().invoke(cli, ["tune", "--diagnostics", "all"]).exit_code == 2


@pytest.mark.slow
def test_diagnostics_are_metrics_of_mlflow_under_their_names(tmp_path):
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    result = lrsearch.tune(
        "two-moons", trials=2, steps=400, tracking_uri=uri, diagnostics="full", compare=False
    )
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("lrsearch").experiment_id
    where = f"tags.`lrsearch.trial` = '{result.best.index}'"
    (run,) = client.search_runs([experiment], where)
    for name, value in result.best.diagnostics.items():
        assert run.data.metrics[name] == pytest.approx(value), name
    curve = client.get_metric_history(run.info.run_id, "stability_ratio")
    assert len(curve) == len(result.best.outcomes[0].traces["stability_ratio"].updates)
    parent = client.get_run(result.run_id)
    assert parent.data.params["diagnostics"] == "full"


def test_make_passes_the_weight_decay_on():
    assert make("digits", {"weight_decay": 0.01}).setup.weight_decay == 0.01
    assert make("quadratic-additive").setup.curvature == 1.0
