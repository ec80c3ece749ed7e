"""Commands after `--`: what is shown before a search, and what follows one."""

import json
import shlex
import subprocess
import sys

import pytest

import lrsearch
from lrsearch import Schedule
from lrsearch.cli import main
from lrsearch.errors import RequestError
from lrsearch.search import comparison_choice
from lrsearch.seeding import run_seed
from lrsearch.workers import processes

SCRIPT = """
import sys
peak, warmup, seed = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
print("val loss", (peak - 0.1) ** 2 + 0.01 * warmup + seed * 0)
"""
NUMBERS = [sys.executable, "my train.py", "{peak}", "{warmup_steps}", "{seed}"]
ASKED = ["--steps", "20", "--space", "linear", "--set", "floor=0", "--sampler", "random"]
ASKED += ["--trials", "3", "--tracking-uri", "none", "--no-compare", "--quiet"]
VALUE = ["--value", "val loss {value}"]
PEAK = ["--set", "peak=0.01..1"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my train.py").write_text(SCRIPT)
    return tmp_path


@pytest.fixture
def say(capsys):
    def run(*words):
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


def test_a_dry_run_prints_the_first_command_which_runs_as_printed(here, say):
    words = [*NUMBERS, "{lr_csv}"]
    code, out, _ = say("tune", *ASKED, *VALUE, *PEAK, "--dry-run", "--", *words)
    assert code == 0
    line = out.splitlines()[-1]
    printed = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60)
    assert not (here / "lrsearch-studies" / "my_train-linear.journal").exists()
    rates = (here / shlex.split(line)[-1]).read_text()
    assert say("tune", *ASKED, *VALUE, *PEAK, "--", *words)[0] == 0
    first = lrsearch.load("my_train-linear").trials[0]
    assert printed.stdout == f"val loss {first.value!r}\n"
    assert shlex.split(line)[-2:] == [
        str(run_seed(0, 0)),
        str(here / "lrsearch-studies" / "my_train-linear.runs" / "0000-0" / "lr.csv"),
    ]
    # A study is there now, so its files are not written again.
    other = ["--set", "peak=0.5..1", "--dry-run"]
    code, out, _ = say("tune", *ASKED, *VALUE, *other, "--", *words)
    assert "/dry-run/lr.csv" in out.splitlines()[-1]
    assert (here / shlex.split(line)[-1]).read_text() == rates


def test_a_dry_run_of_a_script_that_asks_for_its_rates_has_its_environment(here, say):
    (here / "asks.py").write_text(
        "import lrsearch.client\nprint(lrsearch.client.rates(float)(0))\nlrsearch.client.value(1)"
    )
    code, out, _ = say("tune", *ASKED, *PEAK, "--dry-run", "--", sys.executable, "asks.py")
    assert code == 0
    line = out.splitlines()[-1]
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60)
    first = lrsearch.Space.load("linear").with_entries({"peak": 0.1, "floor": 0.0}).default_point()
    plan = Schedule(peak=0.1, decay="polynomial", **first).plan(20)
    assert float(done.stdout) == pytest.approx(plan.lr[0])


LOG = """iter 0: loss 4.5
step 0: val loss 4.0
\riter 10: loss 3.5
iter 20: loss 2.5
val loss 3.0
"""


def test_patterns_are_tried_on_an_old_log(here, say):
    (here / "old.log").write_text(LOG + "val loss 3.25\n")
    report = ["--report", "iter {t}: loss {loss}"]
    code, out, _ = say("tune", *VALUE, *report, "--try-patterns", "old.log")
    assert code == 0
    value, losses = out.splitlines()
    assert "3.25 (3 lines match; first 4, smallest 3, last 3.25)" in value
    out = say("tune", *VALUE, "--value-is", "min", "--try-patterns", "old.log")[1]
    assert "3 (3 lines match;" in out
    assert "3 lines match; steps 0 to 20, losses 4.5 to 2.5" in losses
    assert sorted(path.name for path in here.iterdir()) == ["my train.py", "old.log"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--value", "val lss {value}"], "nearest to it is 'step 0: val loss 4.0'"),
        (["--value", "accuracy {value}"], "its last line is 'val loss 3.0'"),
        ([], "give --value or --report too"),
        (["--value", "val loss"], "give {value}, each once"),
    ],
)
def test_a_pattern_that_matches_nothing_is_an_error_with_a_hint(here, say, words, message):
    (here / "old.log").write_text(LOG)
    code, _, err = say("tune", *words, "--try-patterns", "old.log")
    assert code == 2
    assert message in err
    assert say("tune", *VALUE, "--try-patterns", "no.log")[0] == 2


def test_the_winner_is_exported_as_its_command_line_or_as_python(here, say):
    assert say("tune", *ASKED, *VALUE, *PEAK, "--", *NUMBERS, "--out={folder}")[0] == 0
    result = lrsearch.load("my_train-linear")
    best = result.best
    code, line, _ = say("export", "my_train-linear", "--to", "flags")
    words = shlex.split(line)
    warm = best.schedule.phases(20)[0]
    assert words[2:] == [str(best.schedule.peak), str(warm), "0", "--out=my_train-linear-best"]
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"val loss {best.value!r}\n"
    longer = shlex.split(say("export", "my_train-linear", "--to", "flags", "--steps", 200)[1])
    assert longer[3] == str(best.schedule.phases(200)[0])
    code, text, _ = say("export", "my_train-linear", "--to", "python")
    names = {}
    exec(text, names)
    plan = result.budget.plan(best.schedule)
    assert [names["get_lr"](t) for t in range(20)] == pytest.approx(plan.lr, rel=1e-15)
    assert code == 0


@pytest.mark.parametrize(
    ("words", "form"),
    [
        (NUMBERS, "flags"),
        ([*NUMBERS, "{lr_csv}"], "csv -o schedule.csv"),
        ([sys.executable, "asks.py"], "python -o schedule.py"),
    ],
)
def test_the_printed_export_is_the_form_that_the_command_takes(here, say, words, form):
    (here / "asks.py").write_text(
        "import lrsearch.client\nlrsearch.client.rates(float)\nlrsearch.client.value(1)"
    )
    value = [] if words[1] == "asks.py" else VALUE
    code, out, _ = say("tune", *ASKED, *value, *PEAK, "--study", "mine", "--", *words)
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith("export"))
    assert line.endswith(f"lrsearch export mine --to {form}")
    assert say(*shlex.split(line)[2:])[0] == 0
    other = "flags" if form != "flags" else "csv"
    code, _, err = say("export", "mine", "--to", other)
    assert code == (0 if other == "csv" else 2)
    assert other == "csv" or "lrsearch export STUDY --to" in err


def test_flags_need_a_study_with_a_command(here, say):
    say("tune", "quadratic", "--trials", 1, "--tracking-uri", "none", "--no-compare", "--quiet")
    code, _, err = say("export", "quadratic-default", "--to", "flags")
    assert code == 2
    assert "quadratic-default has no command" in err


def test_the_peak_is_searched_around_that_of_the_current_schedule(here, say):
    (here / "today.json").write_text(
        json.dumps({"peak": 0.02, "warmup": 0.1, "decay": "polynomial"})
    )
    code, _, err = say("tune", *ASKED, *VALUE, "--", *NUMBERS)
    assert code == 2
    assert "or give your current schedule with --current" in err
    words = ["tune", *ASKED, *VALUE, "--current", "today.json", "--", *NUMBERS]
    assert say(*words)[0] == 0
    result = lrsearch.load("my_train-linear")
    assert [t.schedule.peak for t in result.trials[:2]] == pytest.approx([0.02, 0.02])
    space = lrsearch.study.store.Store.read(
        lrsearch.study.location.Location.of("my_train-linear")
    ).spec.space
    peak = space.entries["peak"]
    assert (peak.low, peak.high, peak.log) == (pytest.approx(0.002), pytest.approx(0.2), True)


def test_a_field_that_the_command_does_not_get_is_not_searched(here, say):
    words = [*ASKED[:4], *PEAK, *VALUE, "--", *NUMBERS]
    code, _, err = say("tune", *words)
    assert code == 2
    assert "space linear varies floor, which objective my_train does not get" in err
    assert "fix the field with --set floor=0.0" in err


def test_a_schedule_of_another_shape_is_not_compared_with_a_command_that_gets_numbers(
    here, say, caplog
):
    words = [*ASKED, *VALUE, *PEAK, "--", *NUMBERS]
    assert say("tune", *words)[0] == 0
    small = ["--top", "1", "--seeds", "3", "--quiet", *VALUE]
    code, _, err = say("compare", "my_train-linear", *small, "--", *NUMBERS)
    assert code == 0, err
    found = lrsearch.load("my_train-linear").comparison
    assert set(found.versus) == {"linear", "default"}  # both of the shape of the search
    assert "no other shapes: constant, cosine, wsd, step, onecycle" in caplog.text
    more = ["--against", "cosine", "--", *NUMBERS]
    code, _, err = say("compare", "my_train-linear", *small, *more)
    assert code == 2
    assert "baseline cosine has another shape" in err


def test_a_changed_script_is_a_warning(here, say, caplog):
    words = ["tune", *ASKED, *VALUE, *PEAK, "--", *NUMBERS]
    assert say(*words)[0] == 0
    assert say(*words)[0] == 0
    assert "other files" not in caplog.text
    (here / "my train.py").write_text(SCRIPT + "\n# edited\n")
    more = [word if word != "3" else "4" for word in words]
    assert say(*more)[0] == 0
    assert "continues with other files than it was created with: my train.py" in caplog.text
    assert lrsearch.load("my_train-linear").counts["finished"] == 4


def test_the_printed_comparison_names_the_command_again(here, say, monkeypatch):
    monkeypatch.setattr(comparison_choice, "CHEAP", 0.0)  # so that the comparison is skipped
    asked = [word for word in ASKED if word != "--no-compare"]
    code, out, _ = say("tune", *asked, *VALUE, *PEAK, "--", *NUMBERS)
    assert code == 0
    line = [line for line in out.splitlines() if line.startswith("compare")][-1]
    words = shlex.split(line, comments=True)[1:]
    assert words[:3] == ["lrsearch", "compare", "my_train-linear"]
    assert "shows" in line
    small = ["--top", "1", "--seeds", "3", "--against", "linear", "--quiet"]
    assert say(*words[1:3], *small, *words[3:])[0] == 0


@pytest.mark.parametrize(
    ("devices", "count", "gpus", "shares"),
    [
        ("0,1,2,3", 2, None, [["0"], ["1"]]),
        ("0,1", 3, None, [["0"], ["1"], ["0"]]),
        ("", 2, None, [[], []]),
        ("0,1", 1, None, [[]]),
        ("0,1,2,3,4,5", 2, 3, [["0", "1", "2"], ["3", "4", "5"]]),
        ("7,8", 3, 0.5, [["7"], ["7"], ["8"]]),
        ("7,8", 5, 0.4, None),
        ("0,1,2", 2, 2, None),
        ("0,1,2", 1, 1.5, None),
        ("0", 1, 0, [[""]]),
    ],
)
def test_workers_share_the_gpus_of_a_machine(monkeypatch, devices, count, gpus, shares):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    if shares is None:
        with pytest.raises(RequestError):
            processes.gpu_shares(count, gpus)
    else:
        assert processes.gpu_shares(count, gpus) == shares
    sizes = [processes.room(g) for g in (None, 0, 1, 2, 0.5)]
    known = len([d for d in devices.split(",") if d])
    assert sizes == [1, 1, max(1, known), max(1, known // 2), max(1, 2 * known)]


def test_a_command_gets_several_gpus(here, say, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4")
    (here / "gpus.py").write_text(
        "import os\nprint('val loss', len(os.environ['CUDA_VISIBLE_DEVICES'].split(',')))\n"
        "print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ.get('LRSEARCH_WORKER'))"
    )
    words = [sys.executable, "gpus.py", "{lr_csv}"]
    code, _, err = say("tune", *ASKED, *VALUE, *PEAK, "--worker-gpus", 2, "--", *words)
    assert code == 0, err
    result = lrsearch.load("gpus-linear")
    assert {t.value for t in result.trials} == {2.0}
    runs = here / "lrsearch-studies" / "gpus-linear.runs"
    said = {
        (runs / f"{t.index:04d}-0" / "output.txt").read_text().split("\n")[1]
        for t in result.trials
    }
    assert said <= {"0,1 None", "2,3 None"}
