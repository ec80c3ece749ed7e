"""The commands as a user types them."""

import ast
import csv
import io
import json
import math
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from lrsearch import Schedule, load, plot
from lrsearch.cli import cli, main
from lrsearch.cli.describe import BARS, spark
from lrsearch.cli.options import OPTIONS
from lrsearch.export import FORMATS
from lrsearch.quadratic import expected_loss, lr_ref
from lrsearch.search.comparison_spec import ComparisonSpec
from lrsearch.space import Space, shipped_spaces
from lrsearch.study.settings import declared
from tests.doubles import wait_until

TUNE = ["tune", "quadratic", "--tracking-uri", "none", "--sampler", "random"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def say(capsys):
    """Runs a command; returns its exit code, stdout and stderr."""

    def run(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_has_help_with_examples_and_every_option_has_help(name, say):
    code, out, _ = say(name, "--help")
    assert code == 0
    assert "Examples:" in out
    assert re.search(rf"^  +lrsearch {name}", out, re.M)
    assert "\\b" not in out
    for parameter in cli.commands[name].params:
        if parameter.param_type_name == "option":
            assert parameter.help, parameter.name


def test_lrsearch_alone_is_its_help(say):
    assert say() == say("--help")
    assert "Start here:\n  lrsearch tune" in re.sub("  +", "  ", say()[1])


def test_every_option_is_used_by_a_command():
    used = {opt for command in cli.commands.values() for p in command.params for opt in p.opts}
    assert {f"--{name.replace('_', '-')}" for name in OPTIONS} <= used


def test_every_option_of_tune_is_an_environment_variable():
    for parameter in cli.commands["tune"].params:
        if parameter.name == "objective":
            assert parameter.envvar == "LRSEARCH_OBJECTIVE"
            continue
        expected = parameter.opts[0].removeprefix("--").replace("-", "_").upper()
        assert parameter.envvar == f"LRSEARCH_{expected}"


def test_the_options_of_a_comparison_are_those_of_its_settings():
    options = {parameter.name: parameter for parameter in cli.commands["compare"].params}
    for field, about in declared(ComparisonSpec):
        assert options[field.name].help == about.help
        assert options[field.name].envvar == f"LRSEARCH_COMPARE_{field.name.upper()}"
    assert options["top"].default == ComparisonSpec().top == 5


def test_tune_answers_on_stdout_and_shows_progress_on_stderr(here, say):
    code, out, err = say(*TUNE, "--trials", 12)
    assert code == 0
    assert out.startswith("quadratic-default: 12 trials (")
    assert "\n\nUse " in out
    assert re.search(r"best single trial +trial \d+ +0\.\d+ expected loss", out)
    assert re.search(r"default +trial 0 +0\.\d+ expected loss", out)
    assert re.search(r"recommended: peak \d", out)
    assert "12/12" in err
    assert "best 0." in err
    assert (here / "lrsearch-studies" / "quadratic-default.journal").is_file()


def test_quiet_is_quiet(here, say):
    assert say(*TUNE, "--trials", 3, "--quiet")[2] == ""


def test_json_is_one_object_and_its_value_is_the_recursions(here, say):
    code, out, _ = say(*TUNE, "--trials", 12, "--json")
    record = json.loads(out)
    assert code == 0
    assert list(record["trials"]) == ["finished", "diverged", "pruned", "failed"]
    assert sum(record["trials"].values()) == 12
    assert (record["objective"], record["space"], record["steps"]) == ("quadratic", "default", 200)
    schedule = Schedule.from_dict(record["best"]["schedule"])
    exact = expected_loss(lr_ref(), [schedule.plan(200, 4)])[0][-1]
    assert record["best"]["value"] == exact
    assert record["reference"]["optimum"] == pytest.approx(0.1458987, abs=5e-8)
    assert record["reference"]["ratio"] == exact / record["reference"]["optimum"]


def test_the_exported_rates_give_the_reported_value(here, say):
    record = json.loads(say(*TUNE, "--trials", 12, "--json")[1])
    say("export", "quadratic-default", "--to", "csv", "-o", "rates.csv")
    rows = list(csv.DictReader(io.StringIO((here / "rates.csv").read_text())))
    h = 1 / np.arange(1, 257)
    h /= h.sum()
    q = np.ones(256)
    for row in rows:
        eta, kappa = float(row["lr"]), 1 / int(row["batch"]) - 1 / 256
        q = (1 - eta * h) ** 2 * q + eta**2 * kappa * h**2 * q.sum()
    assert 0.5 * q.mean() == pytest.approx(record["recommended"]["value"], rel=1e-10)


def test_a_second_call_says_that_the_study_is_complete_and_how_to_go_on(here, say):
    say(*TUNE, "--trials", 4)
    code, out, err = say(*TUNE, "--trials", 4)
    assert code == 0
    assert "the study is complete" in out
    assert "--trials 8" in out
    assert err == ""
    assert say(*TUNE, "--trials", 8)[1].startswith("quadratic-default: 8 trials")


def test_another_request_for_a_study_is_refused_with_the_difference(here, say):
    say(*TUNE, "--trials", 2)
    code, out, err = say(*TUNE, "--trials", 2, "--steps", 300)
    assert (code, out) == (2, "")
    assert "steps was 200, is now 300" in err
    assert say(*TUNE, "--trials", 2, "--steps", 300, "--study", "longer")[0] == 0


def test_a_dry_run_says_what_would_happen_and_does_nothing(here, say):
    code, out, err = say(*TUNE, "--dry-run", "--set", "warmup=0.1", "--trials", 7)
    assert (code, err) == (0, "")
    assert re.search(r"warmup +0\.1\n", out)
    assert re.search(r"trials +7", out)
    assert not list(here.iterdir())


def test_settings_reach_the_schedules(here, say):
    say(*TUNE, "--trials", 5, "--set", "warmup=0.1", "--set", "peak=1..2", "--json")
    record = json.loads(say("show", "quadratic-default", "--json")[1])
    assert record["best"]["schedule"]["warmup"] == 0.1
    assert 1 <= record["best"]["schedule"]["peak"] <= 2


def test_environment_variables_are_options(here, say, monkeypatch):
    monkeypatch.setenv("LRSEARCH_TRIALS", "3")
    monkeypatch.setenv("LRSEARCH_OBJECTIVE", "quadratic-additive")
    monkeypatch.setenv("LRSEARCH_TRACKING_URI", "none")
    monkeypatch.setenv("LRSEARCH_SPACE", "cosine")
    monkeypatch.setenv("LRSEARCH_STEPS", "50")
    record = json.loads(say("tune", "--json")[1])
    assert sum(record["trials"].values()) == 3
    assert (record["study"], record["steps"]) == ("quadratic-additive-cosine", 50)


def test_no_finished_trial_is_exit_code_3(here, say):
    code, out, err = say(*TUNE, "--trials", 3, "--set", "peak=1000..2000", "--quiet")
    assert (code, out) == (3, "")
    assert "3 diverged" in err
    assert say("show", "quadratic-default")[0] == 3


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143)],
)
@pytest.mark.slow
def test_a_signal_ends_a_search_cleanly_and_the_same_command_continues_it(here, say, number, code):
    command = [sys.executable, "-m", "lrsearch", *TUNE, "--quiet", "--trials"]
    process = subprocess.Popen([*command, "100000"], stderr=subprocess.PIPE, text=True)
    journal = here / "lrsearch-studies" / "quadratic-default.journal"
    try:
        records = b'"op_code":6'
        wait_until(lambda: journal.exists() and journal.read_bytes().count(records) >= 20, 60)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code
    assert "continue with the same command" in err
    assert err.count("\n") == 1
    ended = int(re.search(r"with (\d+) of 100000 trials", err)[1])
    record = json.loads(say("show", "quadratic-default", "--json")[1])
    assert sum(record["trials"].values()) == ended
    assert say(*TUNE, "--quiet", "--trials", ended + 2)[0] == 0


def test_a_reader_that_stops_reading_is_not_an_error():
    command = [sys.executable, "-m", "lrsearch", "spaces", "--json"]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        words = {"stdout": pipe, "stderr": subprocess.PIPE, "timeout": 60}
        done = subprocess.run(command, **words, check=False)
    assert (done.returncode, done.stderr) == (141, b"")


def test_show_ranks_the_finished_trials(here, say):
    say(*TUNE, "--trials", 20)
    _, out, _ = say("show", "quadratic-default", "--top", 5)
    rows = out.splitlines()[1:6]
    values = [float(row.split()[1]) for row in rows]
    assert values == sorted(values)
    assert out.splitlines()[0].split() == [
        *("trial", "expected", "loss", "peak", "warmup", "hold", "bend")
    ]


def test_show_and_export_take_a_schedules_json(here, say):
    say(*TUNE, "--trials", 3)
    say("export", "quadratic-default", "--to", "json", "-o", "best.json")
    record = json.loads(say("show", "quadratic-default", "--json")[1])
    best = record["recommended"]["schedule"]
    assert json.loads(say("show", "best.json", "--json")[1]) == best
    assert Schedule.from_dict(best) == Schedule.load(here / "best.json")
    assert "peak" in say("show", "best.json")[1]
    table = say("export", "best.json", "--to", "csv", "--steps", 30)[1]
    rates = [float(row["lr"]) for row in csv.DictReader(io.StringIO(table))]
    assert np.array_equal(rates, Schedule.from_dict(best).plan(30).lr)


def test_export_takes_any_trial(here, say):
    say(*TUNE, "--trials", 3)
    out = say("export", "quadratic-default", "--to", "json", "--schedule", "trial:0")[1]
    space = Space.load("default")
    assert Schedule.from_json(out).warmup == space.default_point()["warmup"]
    code, _, err = say("export", "quadratic-default", "--to", "json", "--schedule", "trial:9")
    assert code == 2
    assert "has no trial 9" in err


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "flags"])
def test_export_writes_every_format_and_the_file_holds_the_plan(here, say, form):
    say(*TUNE, "--trials", 3)
    best = load("quadratic-default").recommended.schedule
    assert say("export", "quadratic-default", "--to", form, "-o", "out")[0] == 0
    text = (here / "out").read_text()
    assert text == say("export", "quadratic-default", "--to", form)[1]
    plan = best.plan(200, 4)
    if form == "json":
        assert Schedule.from_json(text) == best
    elif form == "csv":
        assert all(repr(lr) in text for lr in plan.lr.tolist())
    elif form == "python":
        names = {}
        exec(text, names)
        assert [names["get_lr"](t) for t in range(200)] == pytest.approx(plan.lr, rel=1e-14)
    else:
        functions = [n for n in ast.parse(text).body if getattr(n, "name", "") == "rate_at"]
        names = {"math": math}
        exec(compile(ast.Module(functions, []), form, "exec"), names)
        assert [names["rate_at"](t) for t in range(200)] == plan.lr.tolist()


def test_export_scales_to_another_batch_by_the_coupling_law(here, say):
    say(*TUNE, "--trials", 3)
    best = load("quadratic-default").recommended.schedule

    def export(*words):
        code, out, err = say("export", "quadratic-default", "--to", "csv", *words)
        rows = [row["lr"] for row in csv.DictReader(io.StringIO(out))] if code == 0 else []
        return [float(lr) for lr in rows], err

    assert export("--steps", 50) == (best.plan(50).lr.tolist(), "")
    rates, note = export("--batch", 16)
    assert rates == best.plan(200).lr.tolist()
    assert "the peak stays" in note
    rates, note = export("--batch", 16, "--coupling", 1)
    assert rates == best.replace(peak=4 * best.peak).plan(200).lr.tolist()
    assert f"to {4 * best.peak:.4g} at batch 16" in note
    rates, _ = export("--batch", 16, "--coupling", 0.5)
    assert rates == best.replace(peak=2 * best.peak).plan(200).lr.tolist()
    assert "give a --batch other than 4" in export("--coupling", 1)[1]


def test_a_frame_and_a_picture_of_a_result(here, say):
    say(*TUNE, "--trials", 12)
    result = load("quadratic-default")
    frame = result.to_frame()
    assert list(frame.index) == list(range(12))
    assert list(frame["peak"]) == [t.schedule.peak for t in result.trials]
    assert frame["value"].idxmin() == result.best.index
    assert frame["value"].isna().sum() == result.counts["diverged"]
    plot(result, here / "result.png")
    assert (here / "result.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "command",
    [
        ("show", "quadratic-default"),
        ("show", "best.json"),
        ("spaces", "batch_ramp"),
        ("spaces", "spline"),
    ],
)
def test_plots_are_pictures(here, say, command):
    say(*TUNE, "--trials", 6)
    say("export", "quadratic-default", "--to", "json", "-o", "best.json")
    assert say(*command, "--plot", "x.png")[0] == 0
    assert (here / "x.png").read_bytes().startswith(b"\x89PNG")


def test_spaces_are_listed_with_their_about_and_dimension(say):
    out = say("spaces")[1]
    for name in shipped_spaces():
        space = Space.load(name)
        assert re.search(rf"^{name} +{len(space.free)}  {re.escape(space.about)}$", out, re.M)
    assert json.loads(say("spaces", "--json")[1])["spline"]["dimension"] == 5


@pytest.mark.parametrize("name", shipped_spaces())
def test_a_space_that_is_printed_reads_back(say, name):
    assert Space.from_yaml(say("spaces", name)[1], name) == Space.load(name)


def test_objectives_are_listed_with_their_options(say):
    assert "least squares" in say("objectives")[1]
    out = say("objectives", "quadratic")[1]
    assert re.search(r"modes +256 +an integer in \[2, ", out)
    assert json.loads(say("objectives", "quadratic", "--json")[1])["options"]["modes"] == 256


def test_the_spark_line_is_the_plan():
    assert spark(Schedule(peak=2.0, decay="polynomial").plan(8)) == BARS[:0:-1]
    assert spark(Schedule(peak=2.0, decay="constant").plan(4)) == "████"


@pytest.mark.parametrize("name", shipped_spaces())
@pytest.mark.parametrize("objective", ["quadratic", "quadratic-additive"])
def test_every_shipped_space_searches_every_proxy(here, say, objective, name):
    words = [*TUNE, "--space", name, "--trials", "4", "--steps", "60", "--with", "modes=256"]
    words[1] = objective
    assert say(*words)[0] == 0
