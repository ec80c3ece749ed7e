"""The claims: verdicts, figures, and that other premises change every verdict."""

import functools
import json
import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from lrsearch.claims import chapter
from lrsearch.claims.catalog import CLAIMS, run
from lrsearch.claims.interval import rank_interval, wilson, within
from lrsearch.cli import main
from lrsearch.cli.claims import describe
from lrsearch.errors import RequestError
from lrsearch.finding import VERDICTS, Finding
from lrsearch.report.claim_figure import draw_panels

HOLDS, HOLDS_IF, DOES_NOT = VERDICTS

EXPECTED = {
    "decay-beats-constant": HOLDS_IF,
    "diffusion": HOLDS,
    "diffusion-limit": DOES_NOT,
    "weight-decay": HOLDS,
    "noise-scale": HOLDS_IF,
    "energy": HOLDS_IF,
    "restarts": HOLDS_IF,
    "flatness": DOES_NOT,
    "smoothing": HOLDS_IF,
    "flat-is-stable": DOES_NOT,
    "margin": HOLDS,
    "pac-bayes": HOLDS_IF,
    "critical-damping": HOLDS_IF,
    "critical-ramp": HOLDS_IF,
    "cosine-shape": HOLDS_IF,
    "momentum-map": HOLDS_IF,
}

WARM_STEP = np.concatenate([np.linspace(0, 0.1, 30), chapter.draw("step", 270, 0.1, 0.001)])
SMOOTH = chapter.draw("cosine", 300, 0.1, 0.001)
CYCLES = chapter.draw("restarts", 300, 0.1, 0.001)

#: Changed premises of every claim, and the verdict that must follow.
FLIPS = [
    ("decay-beats-constant", {"noises": ["additive"], "lengths": [20_000]}, HOLDS),
    ("decay-beats-constant", {"noises": ["multiplicative"], "decays": ["cosine"]}, DOES_NOT),
    ("diffusion", {"simulated": "proportional"}, DOES_NOT),
    ("diffusion-limit", {"noises": ["proportional"]}, HOLDS),
    ("diffusion-limit", {"noises": ["root", "proportional"]}, HOLDS_IF),
    ("weight-decay", {"task_curvature": 0.5}, HOLDS_IF),
    ("weight-decay", {"momentum": 0.9}, HOLDS_IF),
    ("noise-scale", {"batches": [16, 64], "modes": 1_000}, HOLDS),
    ("energy", {"velocities": ["displacement"], "stability": False}, HOLDS),
    ("energy", {"velocities": ["over root rate"]}, DOES_NOT),
    ("restarts", {"comparisons": ["after cooling", "kink"], "heights": [1.0]}, HOLDS),
    ("restarts", {"comparisons": ["equal budget"]}, DOES_NOT),
    ("flatness", {"measure": "quadratic variation"}, HOLDS),
    ("flatness", {"schedules": {"step": WARM_STEP, "cosine": SMOOTH}}, HOLDS),
    (
        "flatness",
        {"schedules": {"step": WARM_STEP, "cosine": SMOOTH, "restarts": CYCLES}},
        HOLDS_IF,
    ),
    ("smoothing", {"paddings": ["edge"], "curves": ["linear", "restarts"]}, HOLDS),
    ("smoothing", {"paddings": ["zero"], "curves": ["linear", "step"]}, DOES_NOT),
    ("flat-is-stable", {"given_peak": False, "peaks": {"a few": (1.0, 1.9)}}, HOLDS),
    ("flat-is-stable", {"given_peak": False, "schedules": 300}, HOLDS_IF),
    ("margin", {"powers": [2.0]}, DOES_NOT),
    ("margin", {"powers": [0.6, 2.0]}, HOLDS_IF),
    ("pac-bayes", {"products": [0.02]}, HOLDS),
    ("pac-bayes", {"products": [1.0, 3.0]}, DOES_NOT),
    ("critical-damping", {"spreads": [1.0]}, HOLDS),
    ("critical-damping", {"spreads": [10.0]}, DOES_NOT),
    ("critical-ramp", {"forms": ["torch"]}, HOLDS),
    ("critical-ramp", {"forms": ["classical"]}, DOES_NOT),
    ("cosine-shape", {"readings": ["ratio"]}, HOLDS),
    ("cosine-shape", {"readings": ["slope"]}, DOES_NOT),
    ("momentum-map", {"rates": ["constant"]}, HOLDS),
    ("momentum-map", {"rates": ["changing"]}, DOES_NOT),
]

#: Figures known from other computations: name, value, absolute tolerance.
FIGURES = {
    "decay-beats-constant": [
        ("optimum", 0.1458987, 5e-8),
        ("multiplicative_constant_ratio", 1.275, 5e-4),
        ("multiplicative_linear_ratio", 1.213, 5e-4),
        ("multiplicative_cosine_ratio", 1.345, 5e-4),
        ("additive_1000_constant", 0.057, 5e-4),
        ("additive_1000_cosine", 0.120, 5e-4),
    ],
    "diffusion-limit": [
        ("root_constant", 0.5, 5e-7),
        ("root_hyperbolic", 0.5, 5e-7),
        ("proportional_constant", 0.05, 5e-7),
        ("proportional_hyperbolic", 0.001307, 5e-7),
    ],
    "noise-scale": [
        ("updates_16", 378_198, 400),
        ("updates_256", 25_778, 30),
        ("updates_1024", 10_354, 10),
    ],
    "energy": [
        ("threshold_displacement_1", 1.0, 1e-6),
        ("threshold_over_root_rate_4", 0.25, 1e-6),
        ("diverges_above_4", 0.5, 1e-6),
    ],
    "flatness": [
        *[(f"F_{name}", 0.099, 1e-12) for name in ("step", "linear", "cosine", "exponential")],
        ("largest_jump_step", 0.09, 1e-12),
    ],
    "smoothing": [
        ("F_linear", 0.0990, 1e-12),
        ("F_linear_edge", 0.0964, 5e-5),
        ("last_rate_linear_edge", 0.0023, 5e-5),
        ("F_restarts", 0.495, 1e-12),
        ("F_restarts_edge", 0.435, 5e-4),
        ("F_step_zero", 0.148, 5e-4),
    ],
    "critical-ramp": [
        *[(f"sign_changes_classical_{t}", n, 0) for t, n in ((50, 1), (100, 2), (300, 3))],
        *[(f"sign_changes_torch_{t}", 0, 0) for t in (50, 100, 300)],
    ],
    "cosine-shape": [("steepest_at", 0.5, 1e-3), ("ratio_at_half_time", math.pi, 1e-4)],
    "momentum-map": [("order_constant_classical", 1.0, 0.01), ("order_changing_torch", 0.0, 0.05)],
}


@functools.cache
def found(name, seed=None):
    return run(name) if seed is None else run(name, seed=seed)


@pytest.fixture
def say(capsys):
    """Return a function that runs a command and returns its exit code, stdout and stderr."""

    def run_command(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_command


def test_there_are_sixteen_claims():
    assert list(CLAIMS) == [claim.id for claim in CLAIMS.values()]
    assert set(CLAIMS) == set(EXPECTED)
    assert {name for name, _, _ in FLIPS} == set(EXPECTED)


@pytest.mark.parametrize("name", CLAIMS)
def test_the_verdict_is_the_expected_one(name):
    assert found(name).verdict == EXPECTED[name]


@pytest.mark.parametrize(
    ("name", "premises", "verdict"), FLIPS, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(FLIPS)]
)
def test_a_changed_premise_changes_the_verdict(name, premises, verdict):
    assert verdict != EXPECTED[name]
    assert run(name, **premises).verdict == verdict


@pytest.mark.parametrize("name", FIGURES)
def test_figures_equal_those_of_other_computations(name):
    for figure, value, tolerance in FIGURES[name]:
        assert found(name).figures[figure] == pytest.approx(value, abs=tolerance, rel=0), figure


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_has_finite_figures_a_panel_and_a_source(name):
    finding = found(name)
    numbers = [np.ravel(value) for value in finding.figures.values()]
    assert np.isfinite(np.concatenate(numbers)).all()
    assert finding.panels
    for panel in finding.panels:
        for line in panel.lines:
            assert len(line.x) > 1
            assert np.isfinite(line.y).all(), (panel.title, line.label)
    assert CLAIMS[name].statement.endswith(".")
    assert CLAIMS[name].source


@pytest.mark.parametrize("name", ["diffusion", "noise-scale", "restarts", "flat-is-stable"])
def test_a_random_experiment_is_reproducible_and_another_seed_gives_the_same_verdict(name):
    assert run(name) == found(name)
    other = run(name, seed=7)
    assert other.figures != found(name).figures
    assert other.verdict == found(name).verdict
    intervals = [v for k, v in other.figures.items() if k.endswith("_interval")]
    assert intervals
    assert all(low < high for low, high in intervals)


def test_the_margin_claim_also_holds_for_other_points():
    assert run("margin", seed=1).verdict == HOLDS


def test_weight_decay_without_a_task_is_the_product_and_depends_on_the_sum_to_first_order():
    finding = found("weight-decay")
    assert finding.figures["largest_error_of_product"] < 1e-12
    assert finding.figures["equal_sum_difference"] < 1e-3
    assert not finding.variants["with momentum 0.9 the norm is the product"]


def test_at_equal_budget_several_cycles_and_one_cycle_are_not_distinguishable():
    figures = found("restarts").figures
    low, high = figures["double_well_one_cycle_interval"]
    other_low, other_high = figures["double_well_n_cycles_interval"]
    assert low < other_high
    assert other_low < high
    assert figures["double_well_constant_interval"][0] > max(high, other_high)


def test_a_constant_rate_turns_to_the_max_margin_direction_faster_than_decaying_rates():
    figures = found("margin").figures
    assert figures["angle_constant"] < figures["angle_t_0.6"] < figures["angle_t_1"]
    assert figures["svm_margin"] == pytest.approx(1, abs=1e-6)
    assert figures["svm_angle_to_construction"] < 1e-3


def test_no_measure_of_smoothness_predicts_stability_as_well_as_the_peak():
    finding = found("flat-is-stable")
    better = {k: v for k, v in finding.variants.items() if "a measure of smoothness" in k}
    assert len(better) == 3
    assert not any(better.values())
    assert sum(finding.variants.values()) == 2  # F rises with the peak
    assert finding.figures["set_1_peak"] > 0.9
    for k in range(1, 5):
        assert finding.figures[f"set_{k}_F_given_peak_interval"][1] < 0


def test_a_constant_noise_scale_keeps_the_loss_on_its_plateau():
    figures = found("noise-scale").figures
    assert figures["loss_after_ramp_with_rate"] == pytest.approx(1, abs=0.05)
    assert figures["loss_after_ramp_alone"] == pytest.approx(1 / 8, abs=0.02)
    without_replacement = run("noise-scale", replacement=False, batches=[16, 64], modes=1_000)
    assert without_replacement.verdict == HOLDS_IF


@pytest.mark.parametrize(
    ("name", "premises"),
    [
        ("decay-beats-constant", {"noises": ["pink"]}),
        ("decay-beats-constant", {"decays": ["rex"]}),
        ("diffusion", {"simulated": "pink"}),
        ("diffusion-limit", {"fall": 0.0}),
        ("weight-decay", {"momentum": 1.0}),
        ("energy", {"velocities": ["none"]}),
        ("restarts", {"comparisons": ["none"]}),
        ("flatness", {"measure": "roughness"}),
        ("flatness", {"schedules": {"one": [1.0, 0.5]}}),
        ("smoothing", {"width": 30}),
        ("smoothing", {"paddings": ["mirror"]}),
        ("smoothing", {"curves": ["sine"]}),
        ("margin", {"rate": 0.0}),
        ("pac-bayes", {"products": [-1.0]}),
        ("critical-damping", {"spreads": [0.0]}),
        ("critical-ramp", {"forms": ["jax"]}),
        ("cosine-shape", {"floor": 1.0}),
        ("momentum-map", {"rates": ["wild"]}),
    ],
)
def test_a_bad_premise_is_rejected_in_one_line(name, premises):
    with pytest.raises(RequestError) as rejected:
        run(name, **premises)
    assert "\n" not in str(rejected.value)


def test_an_unknown_claim_is_rejected_with_the_nearest_name(say):
    code, out, err = say("claims", "flatnes")
    assert (code, out) == (2, "")
    assert "did you mean 'flatness'?" in err
    assert err.count("\n") == 1


def test_a_claim_is_printed_with_its_verdict_cases_and_figures(say):
    code, out, err = say("claims", "energy")
    assert (code, err) == (0, "")
    assert out.startswith("energy: holds if\n")
    assert "  holds    one step from rest, v = -ηλθ\n" in out
    assert "  not      one step from rest" in out
    assert "threshold_displacement_0.5" in out
    assert CLAIMS["energy"].source in out


def test_no_line_has_more_than_a_hundred_columns():
    for name, claim in CLAIMS.items():
        lines = describe(claim, found(name)).splitlines()
        assert lines[0] == f"{name}: {EXPECTED[name]}"
        assert all(line.startswith("  ") for line in lines[1:])
        assert max(map(len, lines)) <= 100


def test_json_is_a_list_of_records_with_fixed_keys(say):
    code, out, _ = say("claims", "flatness", "restarts", "flatness", "--json")
    records = json.loads(out)
    assert code == 0
    assert [record["id"] for record in records] == ["flatness", "restarts"]
    for record in records:
        assert list(record) == ["id", "statement", "verdict", "figures", "source"]
        assert record["verdict"] in VERDICTS
        for value in record["figures"].values():
            assert np.isfinite(value).all()
            assert isinstance(value, float) or len(value) == 2


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_a_figure_is_written(say, tmp_path, ending):
    path = tmp_path / f"claims.{ending}"
    assert say("claims", "energy", "smoothing", "--plot", path)[0] == 0
    assert path.stat().st_size > 1000


def test_an_unknown_figure_format_is_rejected(say, tmp_path):
    code, _, err = say("claims", "energy", "--plot", tmp_path / "claims.gif")
    assert code == 2
    assert "use a name that ends in" in err


def test_panels_of_all_claims_form_a_grid_and_those_of_one_claim_a_row():
    every = {name: found(name).panels for name in CLAIMS}
    figure = draw_panels(every)
    assert isinstance(figure, Figure)
    drawn = [axes for axes in figure.axes if axes.axison]
    assert len(drawn) == sum(map(len, every.values()))
    assert drawn[0].get_title(loc="left").startswith("decay-beats-constant\n")
    row = draw_panels({"smoothing": found("smoothing").panels})
    assert len(row.axes) == 3
    assert len({round(axes.get_position().y0, 6) for axes in row.axes}) == 1
    with pytest.raises(RequestError):
        draw_panels({"nothing": ()})


def test_the_curves_of_the_chapter_include_both_ends():
    for name in chapter.CURVES:
        curve = chapter.draw(name, 300, 0.1, 0.1 if name == "constant" else 0.001)
        assert curve.shape == (300,)
        assert curve[0] == pytest.approx(0.1)
        assert curve[-1] == pytest.approx(0.1 if name == "constant" else 0.001)


def test_intervals_have_known_values():
    """Wilson's upper end for 0 of 10 is z²/(n+z²) = .2775; Fisher's z of .5 at n = 100."""
    assert wilson(0, 10) == pytest.approx((0, 0.27753), abs=1e-5)
    low, high = rank_interval(0.5, 100)
    half = 1.959964 * math.sqrt(1.125 / 97)
    assert (math.atanh(high) - math.atanh(low)) / 2 == pytest.approx(half)
    assert within((0.9, 1.1), 1, 0.2)
    assert not within((0.9, 1.3), 1, 0.2)


def test_the_printed_verdict_is_the_computed_one(say, monkeypatch):
    for cases, verdict in (({"a": True}, HOLDS), ({"a": False}, DOES_NOT)):
        finding = Finding(cases=cases, figures={"x": 1.0})
        monkeypatch.setattr("lrsearch.claims.energy.energy", lambda finding=finding: finding)
        assert say("claims", "energy")[1].startswith(f"energy: {verdict}\n")
