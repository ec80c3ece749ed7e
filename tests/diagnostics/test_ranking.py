"""Trials sorted by a diagnostic: the table, the explanation and the figure."""

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

import lrsearch
from lrsearch.cli import cli, main
from lrsearch.diagnostics.ranking import rank_by
from lrsearch.errors import RequestError
from lrsearch.report.diagnostic_figure import draw_diagnostic


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study of twelve trials, one of which diverges, with every diagnostic."""
    path = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        lrsearch.tune(
            "two-moons",
            settings={"peak": {"low": 1e-2, "high": 3e3, "log": True}},
            trials=12,
            steps=400,
            sampler="qmc",
            diagnostics="full",
            tracking_uri="none",
            study="moons",
            compare=False,
        )
    return path


@pytest.fixture
def result(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return lrsearch.load("moons")


def test_trials_are_ordered_by_the_diagnostic_and_correlated_with_the_value(result):
    ranking = rank_by(result, "weight_norm")
    norms = [trial.diagnostics["weight_norm"] for trial in ranking.trials]
    assert norms == sorted(norms)
    assert len(norms) == len(result.ranked) >= 5
    values = [trial.value for trial in ranking.trials]
    assert ranking.correlation == pytest.approx(stats.spearmanr(norms, values).statistic)
    assert "norm of the parameters" in ranking.about


def test_trials_can_also_be_sorted_by_the_value_and_by_noted_figures(result):
    assert rank_by(result, "accuracy").about == ""
    by_value = rank_by(result, "value")
    assert list(by_value.trials) == result.ranked
    assert by_value.correlation is None


def test_a_constant_diagnostic_has_no_correlation(result):
    constant = next(t for t in result.trials if t.value is not None)
    same = lrsearch.Result(**{**vars(result), "trials": (constant,) * 6})
    assert rank_by(same, "sharpness").correlation is None


def test_the_leaderboard_shows_the_diagnostic_beside_the_value(result):
    done = CliRunner().invoke(cli, ["show", "moons", "--sort", "sharpness", "--top", "3"])
    assert done.exit_code == 0
    head, *rows = done.output.splitlines()
    assert head.split()[:3] == ["trial", "nats", "sharpness"]
    shown = [float(row.split()[2]) for row in rows[:3]]
    least = sorted(t.diagnostics["sharpness"] for t in result.ranked)[:3]
    assert shown == pytest.approx(least, rel=1e-3)
    said = " ".join(done.output.split())
    assert "mostly reflects the final rate" in said  # the pitfall is named
    assert "Spearman's correlation with the value over" in done.output


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sharpnes", "did you mean 'sharpness'? Known: accuracy"),
        ("svm_angle", "it was not measured, or does not apply; search under another --study"),
    ],
)
def test_a_diagnostic_that_no_trial_has_is_rejected(result, name, said, capsys):
    assert main(["show", "moons", "--sort", name]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    with pytest.raises(RequestError):
        rank_by(result, name)


def test_sorting_a_schedule_is_rejected(result, tmp_path, capsys):
    (tmp_path / "a.json").write_text('{"peak": 0.1}')
    assert main(["show", str(tmp_path / "a.json"), "--sort", "sharpness"]) == 2
    assert "needs a study" in capsys.readouterr().err


def test_trials_without_the_diagnostic_are_counted(result):
    bare = [lrsearch.Outcome(**{**vars(o), "figures": {}}) for o in result.best.outcomes]
    other = lrsearch.Trial(index=99, schedule=result.best.schedule, outcomes=tuple(bare))
    both = lrsearch.Result(**{**vars(result), "trials": (*result.trials, other)})
    from lrsearch.cli.describe import describe_ranking

    assert "1 finished trials have no value of it" in describe_ranking(
        both, rank_by(both, "sharpness")
    )


def test_the_figure_shows_the_value_the_curves_and_the_edge_of_stability(result):
    ranking = rank_by(result, "stability_ratio")
    lost = [
        lrsearch.Outcome(**{**vars(o), "state": "diverged", "value": None})
        for o in result.best.outcomes
    ]
    other = lrsearch.Trial(index=99, schedule=result.best.schedule, outcomes=tuple(lost))
    result = lrsearch.Result(**{**vars(result), "trials": (*result.trials, other)})
    figure = draw_diagnostic(result, ranking.name, ranking.trials, ranking.correlation)
    scatter, curves, _ = figure.axes
    points = scatter.collections[0].get_offsets()
    assert np.allclose(points[:, 1], [t.value for t in ranking.trials])
    assert np.allclose(points[:, 0], [t.diagnostics["stability_ratio"] for t in ranking.trials])
    edge = [line for line in curves.get_lines() if line.get_color() == "tab:red"]
    assert [list(line.get_ydata()) for line in edge] == [[1.0, 1.0]]
    drawn = [line for line in curves.get_lines() if line.get_color() != "tab:red"]
    with_curve = [t for t in result.trials if "stability_ratio" in t.outcomes[0].traces]
    assert len(drawn) == len(with_curve) > len(result.ranked) - 1
    dashed = sum(line.get_linestyle() == "--" for line in drawn)
    assert dashed == sum(t.state == "diverged" for t in with_curve) > 0


def test_a_diagnostic_without_a_curve_has_one_panel(result, tmp_path):
    ranking = rank_by(result, "rate_sum")
    figure = draw_diagnostic(result, ranking.name, ranking.trials, ranking.correlation)
    assert len(figure.axes) == 2  # the scatter and its colour bar
    path = tmp_path / "sum.png"
    assert main(["show", "moons", "--sort", "rate_sum", "--plot", str(path)]) == 0
    assert path.stat().st_size > 5000


def test_the_result_reports_the_cost_of_diagnostics(result, capsys):
    assert main(["show", "moons"]) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("measured"))
    share = sum(t.probing for t in result.trials) / sum(
        t.seconds - t.probing for t in result.trials
    )
    assert f"diagnostics ({100 * share:.1f} % extra time)" in line
