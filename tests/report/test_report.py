"""Figures contain the numbers that they are made of."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from lrsearch import Schedule
from lrsearch.errors import NothingFinished, RequestError
from lrsearch.report.files import write
from lrsearch.report.schedule_figure import draw_schedules, draw_space
from lrsearch.report.study_figure import draw_study
from lrsearch.space import Space, shipped_spaces
from tests.doubles import Bowl, search


def test_a_schedule_is_drawn_as_its_plan():
    schedule = Schedule(peak=0.1, warmup=0.2)
    (axes,) = draw_schedules({"mine": schedule}, 50).axes
    assert np.array_equal(axes.lines[0].get_ydata(), schedule.plan(50).lr)


def test_a_growing_batch_has_its_own_panel():
    schedule = Schedule(peak=0.1, batch_growth=4)
    _, right = draw_schedules({"mine": schedule}, 50, 8).axes
    assert np.array_equal(right.lines[0].get_ydata(), schedule.plan(50, 8).batch)


@pytest.mark.parametrize("name", shipped_spaces())
def test_every_shipped_space_is_drawn_with_its_samples(name):
    figure = draw_space(Space.load(name), 8)
    assert len(figure.axes[0].lines) == 9
    curves = {tuple(line.get_ydata()) for line in figure.axes[0].lines}
    assert len(curves) >= 8


def test_a_study_is_drawn_from_its_trials(tmp_path):
    result = search(Bowl(), tmp_path, trials=12, sampler="random")
    rates, progress, peaks = draw_study(result).axes
    best = result.budget.plan(result.best.schedule)
    assert np.array_equal(rates.lines[-1].get_ydata(), best.lr)
    values = [t.value for t in result.trials if t.value is not None]
    assert np.array_equal(progress.lines[0].get_ydata(), values)
    assert np.array_equal(progress.lines[1].get_ydata(), np.minimum.accumulate(values))
    assert np.array_equal(peaks.lines[1].get_xdata(), [result.best.schedule.peak])


def test_drawing_a_study_without_finished_trials_is_an_error(tmp_path):
    result = search(Bowl(limit=0.0), tmp_path, trials=2)
    with pytest.raises(NothingFinished):
        draw_study(result)


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_a_figure_is_written_in_the_format_of_its_extension(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    write(Figure(), str(path))
    magic = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    assert path.read_bytes().startswith(magic[ending])


@pytest.mark.parametrize("path", ["x.txt", "x", "nowhere/x.png"])
def test_a_figure_that_cannot_be_written_is_rejected(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match="cannot"):
        write(Figure(), path)
