"""Commands as objectives: placeholders, values, failures, identity, workers."""

import csv
import json
import re
import shlex
import signal
import sys

import numpy as np
import psutil
import pytest
from mlflow.tracking import MlflowClient

import lrsearch
from lrsearch import Command, Run, Schedule
from lrsearch.cli import main
from lrsearch.errors import RequestError
from lrsearch.objectives.command import OUTPUT, CommandObjective
from lrsearch.objectives.command_files import client_calls
from lrsearch.objectives.placeholders import PLACEHOLDERS
from lrsearch.schedule import FIELDS
from lrsearch.seeding import run_seed
from tests.doubles import launch, wait_until

SCRIPT = """
import argparse, csv, os, sys
parser = argparse.ArgumentParser()
parser.add_argument("--rates")
parser.add_argument("--seed", type=int)
words = parser.parse_args()
rates = [float(row["lr"]) for row in csv.DictReader(open(words.rates))]
x = 1.0 + 0.01 * (words.seed % 7)
for t, rate in enumerate(rates):
    x -= rate * x
    print(f"iter {t}: loss {x * x:.6g}", file=sys.stderr)
print(f"val loss {x * x!r}")
"""
PEAK = {"peak": {"low": 1e-3, "high": 1.0, "log": True}}
ASKED = {"trials": 4, "steps": 20, "space": "cosine", "sampler": "random", "tracking_uri": "none"}


UNMATCHED = "no line of the output matches 'val loss {value}'"
ENDED = "the command ended with"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(SCRIPT)
    return tmp_path


def python(code, value="val loss {value}", **more):
    """Return a command that runs some code, whose first argument is the peak."""
    return Command(words=(sys.executable, "-c", code, "{peak}"), value=value, **more)


def train(**more):
    words = (sys.executable, "train.py", "--rates={lr_csv}", "--seed", "{seed}")
    return Command(words=words, value="val loss {value}", **more)


def make_run(tmp_path, **more):
    schedule = Schedule(peak=0.1, warmup=0.1, hold=0.25, floor=0.01)
    plan = schedule.plan(steps=20, batch=8)
    words = {"trial": 3, "replicate": 0, "seed": 11, "home": str(tmp_path / "home"), **more}
    return Run(plan=plan, schedule=schedule, **words)


def answer(tmp_path, command, **more):
    return CommandObjective(command).answer(make_run(tmp_path, **more))


def test_a_script_that_follows_a_file_is_searched_and_compared(here):
    command = train(report="iter {t}: loss {loss}")
    result = lrsearch.tune(command, settings=PEAK, compare=False, **ASKED)
    assert result.study == "train-cosine"
    assert result.counts["finished"] == 4
    start = 1.0 + 0.01 * (run_seed(0, 0) % 7)
    for trial in result.trials:
        rates = result.budget.plan(trial.schedule).lr
        losses = (start * np.cumprod(1 - rates)) ** 2
        assert trial.value == pytest.approx(losses[-1], rel=1e-12)
        assert trial.outcomes[0].traces["loss"].values == pytest.approx(losses, rel=1e-5)
    words = {"top": 1, "seeds": 4, "against": ["constant"]}
    found = lrsearch.compare(result, objective=command, **words)
    assert list(found.versus) == ["constant"]


def test_every_placeholder_is_what_it_says(tmp_path):
    run = make_run(tmp_path)
    words = ["true", *(f"{name}={{{name}}}" for name in PLACEHOLDERS)]
    words += ["{{peak}}", "{1}", "{}", "${peak}"]
    filled = Command(words=tuple(words), value="{value}").for_run(run)
    assert filled[-4:] == ["{peak}", "{1}", "{}", "${peak}"]
    found = dict(word.split("=", 1) for word in filled[1:-4])
    assert found["peak"] == "0.1"
    assert found["floor"] == "0.01"
    assert set(FIELDS) <= set(found)
    numbers = {"seed": 11, "steps": 20, "batch": 8, "trial": 3}
    numbers |= {"warmup_steps": 2, "hold_steps": 5, "decay_steps": 13, "min_lr": 0.001}
    assert {name: float(found[name]) for name in numbers} == pytest.approx(numbers)
    assert float(found["first_lr"]) == run.plan.lr[0]
    assert float(found["final_lr"]) == run.plan.lr[-1]
    assert found["folder"] == str(tmp_path / "home" / "out")
    assert list((tmp_path / "home" / "out").iterdir()) == []
    with open(found["lr_csv"]) as file:
        rows = list(csv.DictReader(file))
    assert [float(row["lr"]) for row in rows] == run.plan.lr.tolist()
    with open(found["plan_json"]) as file:
        plan = json.load(file)
    assert plan["lr"] == run.plan.lr.tolist()
    assert Schedule.from_dict(plan["schedule"]) == run.schedule


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("true", "{paek}"), "write {{paek}} for the text {paek} itself; did you mean 'peak'"),
        (("true", "{seed}", "{{peak}}"), "no placeholder of the command carries the schedule"),
        (("no-such-program", "{peak}"), "there is no program no-such-program"),
        ((), "the command is (); give a list of texts"),
        ("python train.py {peak}", "give a list of texts, the program and its arguments"),
        (("python", 1, "{peak}"), "give a list of texts"),
    ],
)
def test_a_wrong_command_is_refused_before_anything_starts(words, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        Command(words=words, value="{value}")


@pytest.mark.parametrize(
    ("code", "state", "reason"),
    [
        ("print('val loss 2.5')", "finished", ""),
        ("print('val loss nan')", "diverged", "the value at the end is nan"),
        (
            "print('val loss 1'); print('val loss nan'); exit(1)",
            "diverged",
            "its value is nan, and it ended with exit code 1",
        ),
        ("print('done')", "failed", f"{UNMATCHED}; its last line: done"),
        ("pass", "failed", f"{UNMATCHED}; it printed nothing"),
        ("print('x'); exit(3)", "failed", f"{ENDED} exit code 3; its last line: x"),
        (
            "import os; os.kill(os.getpid(), 9)",
            "failed",
            f"{ENDED} signal 9 (SIGKILL); it printed nothing",
        ),
        (
            "1 / 0",
            "failed",
            f"{ENDED} exit code 1; its last line: ZeroDivisionError: division by zero",
        ),
    ],
)
def test_the_end_of_a_command_is_the_outcome_of_its_run(tmp_path, code, state, reason):
    outcome = answer(tmp_path, python(code))
    assert (outcome.state, outcome.reason) == (state, reason)
    assert outcome.value == (2.5 if state == "finished" else None)
    assert (tmp_path / "home" / OUTPUT).exists()


def test_the_last_value_counts_or_the_smallest(tmp_path):
    code = "print('val loss 3'); print('val loss 1'); print('val loss 2')"
    assert answer(tmp_path, python(code)).value == 2.0
    assert answer(tmp_path, python(code, value_is="min")).value == 1.0
    code += "; print('val loss nan')"
    assert answer(tmp_path, python(code)).state == "diverged"
    assert answer(tmp_path, python(code, value_is="min")).value == 1.0


def test_a_run_that_diverges_is_ended_with_its_children(tmp_path):
    code = (
        "import subprocess, time\n"
        "print('child', subprocess.Popen(['sleep', '600']).pid)\n"
        "print('iter 3: loss 1.0'); print('iter 3: loss 9.0'); print('iter 4: loss nan')\n"
        "time.sleep(600)"
    )
    outcome = answer(tmp_path, python(code, report="iter {t}: loss {loss}"))
    assert (outcome.state, outcome.reason) == ("diverged", "diverged at update 4 with loss nan")
    assert outcome.traces["loss"].values == (1.0,)
    child = int((tmp_path / "home" / OUTPUT).read_text().split()[1])
    wait_until(lambda: not psutil.pid_exists(child))


def test_a_run_that_hangs_is_ended_at_its_time_limit(tmp_path):
    outcome = answer(tmp_path, python("import time; time.sleep(600)"), limit=0.5)
    assert outcome.state == "failed"
    assert outcome.reason == "it took longer than 0.5 s and was ended"


def test_the_environment_is_passed_on_and_has_no_option_of_a_nested_lrsearch(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("MINE", "4")
    code = (
        "import json, os\n"
        "print(json.dumps({n: v for n, v in os.environ.items() if n.startswith('LRSEARCH_')}))\n"
        "print('val loss', os.environ['MINE'])"
    )
    assert answer(tmp_path, python(code)).value == 4.0
    own = json.loads((tmp_path / "home" / OUTPUT).read_text().splitlines()[0])
    assert own == {
        "LRSEARCH_RUN_TRIAL": "3",
        "LRSEARCH_RUN_SEED": "11",
        "LRSEARCH_RUN_STEPS": "20",
        "LRSEARCH_RUN_FOLDER": str(tmp_path / "home" / "out"),
        "LRSEARCH_RUN_PLAN": str(tmp_path / "home" / "lr.csv"),
        "LRSEARCH_RUN_REPORTS": str(tmp_path / "home" / "reports.jsonl"),
    }


def test_another_command_is_another_objective(here):
    lrsearch.tune(train(), settings=PEAK, compare=False, **ASKED)
    with pytest.raises(RequestError, match="`value_is=` was last, is now min"):
        lrsearch.tune(train(value_is="min"), settings=PEAK, compare=False, **ASKED)


def test_two_workers_give_the_values_of_one_process(here):
    words = {**ASKED, "settings": PEAK, "compare": False}
    alone = lrsearch.tune(train(), study="alone", **words)
    both = lrsearch.tune(train(), study="both", workers=2, **words)
    # With two workers the sampler knows fewer outcomes, which a random one does not use.
    assert [t.value for t in both.trials] == [t.value for t in alone.trials]


WORDS = ["--steps", "20", "--space", "cosine", "--sampler", "random", "--trials", "2"]
MORE = ["--tracking-uri", "none", "--no-compare", "--quiet"]
LINE = [sys.executable, "train.py", "--rates={lr_csv}", "--seed", "{seed}"]
VALUE_IS = ["--value", "val loss {value}"]


def test_a_command_after_two_dashes_is_the_objective(here, capsys):
    words = ["tune", *WORDS, *MORE, "--set", "peak=1e-3..1", *VALUE_IS]
    assert main([*words, "--json", "--", *LINE]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["study"], found["objective"]) == ("train-cosine", "train")
    assert found["trials"]["finished"] == 2
    assert main(["compare", "train-cosine"]) == 2
    assert "the study train-cosine ran a command" in capsys.readouterr().err
    compared = ["compare", "train-cosine", "--top", "1", "--seeds", "3"]
    compared += ["--against", "constant", "--quiet", *VALUE_IS]
    assert main([*compared, "--", *LINE]) == 0
    assert "constant" in capsys.readouterr().out
    assert main([*compared, "--objective", "train.py:x", "--", *LINE]) == 2
    assert "exclude each other" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*WORDS, *MORE, "--", *LINE], "the command has no value; give --value"),
        ([*MORE, *VALUE_IS, "--", *LINE], "a command needs --steps"),
        (["digits", *VALUE_IS, "--", *LINE], "exclude each other"),
        (VALUE_IS, "--value needs a command"),
        (["--report", "{t} {loss}"], "--report needs a command"),
        (["--value-from", "a:b"], "--value-from needs a command"),
        ([*WORDS, "--value", "val", "--", *LINE], "has the placeholders []; give {value}"),
        ([*WORDS, *VALUE_IS, "--", *LINE], "set one with --set peak=LOW..HIGH"),
        ([*WORDS, *VALUE_IS, "--"], "there is no command after --"),
        ([*WORDS, "--"], "there is no command after --"),
        ([*WORDS, *VALUE_IS, *LINE], "to run a command of your own, put -- before it"),
    ],
)
def test_a_wrong_command_line_is_one_clear_error(here, capsys, words, message):
    assert main(["tune", *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (here / "lrsearch-studies").exists()


def test_the_page_in_mlflow_shows_the_command_that_repeats_the_search(here):
    uri = f"sqlite:///{here}/mlflow.db"
    words = {**ASKED, "tracking_uri": uri, "settings": PEAK, "compare": False}
    result = lrsearch.tune(train(report="iter {t}: loss {loss}"), **words)
    run = MlflowClient(tracking_uri=uri).get_run(result.run_id)
    page = run.data.tags["mlflow.note.content"]
    shown = next(line for line in page.splitlines() if line.startswith("lrsearch tune"))
    options, own = shown.split(" -- ")
    assert shlex.split(own) == LINE
    assert "--value 'val loss {value}' --value-is last --report 'iter {t}: loss {loss}'" in options
    assert run.data.tags["mlflow.source.name"] == f"lrsearch tune -- {own}"


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
def test_a_signal_ends_the_command_and_its_children_and_the_search_continues(here, number, code):
    (here / "slow.py").write_text(
        "import os, subprocess, sys, time\n"
        "if os.path.exists('quick'):\n"
        "    sys.exit(print('val loss', sys.argv[1]))\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "open('pids.new', 'w').write(f'{os.getpid()} {child.pid}')\n"
        "os.rename('pids.new', 'pids')\n"
        "time.sleep(600)\n"
    )
    words = ["tune", *WORDS, *MORE, "--set", "peak=1e-3..1", *VALUE_IS]
    words += ["--set", "warmup=0", "--set", "floor=0"]
    words += ["--", sys.executable, "slow.py", "{peak}"]
    search = launch(*words)
    wait_until((here / "pids").exists, 60)
    search.send_signal(number)
    _, err = search.communicate(timeout=60)
    assert search.returncode == code
    assert "continue with the same command: lrsearch tune" in err
    pids = (here / "pids").read_text().split()
    wait_until(lambda: not any(psutil.pid_exists(int(pid)) for pid in pids))
    (here / "quick").touch()
    assert main(words) == 0
    assert [t.value for t in lrsearch.load("slow-cosine").trials] == [
        t.schedule.peak for t in lrsearch.load("slow-cosine").trials
    ]


def test_a_process_that_a_command_leaves_behind_is_ended_though_it_prints(tmp_path):
    script = "while sleep 0.02; do echo tick; done & setsid sleep 600 & echo $! val loss $1"
    command = Command(words=("bash", "-c", script, "x", "{peak}"), value="val loss {value}")
    outcome = answer(tmp_path, command)
    assert (outcome.state, outcome.value) == ("finished", 0.1)
    assert outcome.seconds < 30
    text = (tmp_path / "home" / OUTPUT).read_text()
    (left,) = re.findall(r"(\d+) val loss", text)
    wait_until(lambda: not psutil.pid_exists(int(left)))


SLOW = """
import os, subprocess, sys, time
if os.path.exists('quick'):
    sys.exit(print('val loss', sys.argv[1]))
child = subprocess.Popen(['sleep', '600'])
with open('pids', 'a') as file:
    file.write(f'{os.getpid()} {child.pid}\\n')
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("number", "workers"),
    [(signal.SIGKILL, 1), *(pytest.param(n, 2, marks=pytest.mark.slow) for n in (2, 9, 15))],
)
def test_no_command_outlives_its_search(here, number, workers):
    (here / "slow.py").write_text(SLOW)
    words = ["tune", *WORDS, *MORE, "--set", "peak=1e-3..1", *VALUE_IS, "--set", "warmup=0"]
    words += ["--set", "floor=0", "--workers", str(workers)]
    search = launch(*words, "--", sys.executable, "slow.py", "{peak}")

    def pids():
        text = (here / "pids").read_text() if (here / "pids").exists() else ""
        return [int(pid) for pid in text.split()]

    wait_until(lambda: len(pids()) == 2 * workers, 60)
    search.send_signal(number)
    search.communicate(timeout=60)
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids()), 30)


def test_a_name_is_taken_from_the_script_or_module():
    def name(*words):
        return Command(words=(*words, "{peak}"), value="{value}").name

    assert name("python3", "a/my train.py") == "my_train"
    assert name("python3", "-m", "pkg.trainer", "config/small.py") == "trainer"
    assert name("python3", "-m", "torch.distributed.run", "train.py") == "train"
    assert name("bash", "--config=small.py") == "bash"
    assert name("python3", "_träin.py") == "tr_in"
    assert name("python3", "训练.py") == "command"
    assert name("python3", f"{'a' * 100}.py") == "a" * 60


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("import lrsearch.client\nlrsearch.client.value(1)", True),
        ("import lrsearch.client as c\nc.value(1)", True),
        ("from lrsearch import client\nclient.value(1)", True),
        ("import client\nclient.value(1)", True),
        ("from client import value as v\nv(1)", True),
        ("from lrsearch.client import rates, value\nvalue(1)", True),
        ("# lrsearch.client.value(1)", False),
        ("import http.client\nvalue(1)", False),
        ("import client\nclient.rates(f)", False),
        ("def value(x): ...\nvalue(1)", False),
        ("print 'python 2'", False),
    ],
)
def test_a_call_of_the_client_is_found_in_the_code(here, text, calls):
    (here / "script.py").write_text(text)
    assert ("value" in client_calls(["python", "script.py"])) == calls


def test_a_command_without_a_seed_or_with_a_batch_that_is_not_given(here, capsys, caplog):
    words = ["tune", *WORDS, *MORE, "--set", "peak=1e-3..1", *VALUE_IS, "--dry-run", "--"]
    assert main([*words, *LINE]) == 0
    assert "has no {seed}" not in caplog.text
    assert main([*words, *LINE[:-2]]) == 0
    assert "the command has no {seed}" in caplog.text
    assert main([*words, *LINE, "{batch}"]) == 2
    assert "give --batch" in capsys.readouterr().err


def test_a_schedule_whose_shape_does_not_reach_the_command_is_refused(here, capsys):
    (here / "today.json").write_text('{"peak": 0.1, "decay": "constant"}')
    words = ["tune", *WORDS, *MORE, *VALUE_IS, "--set", "warmup=0", "--set", "floor=0"]
    words += ["--current", "today.json", "--"]
    assert main([*words, sys.executable, "-c", "print('val loss 1')", "{peak}"]) == 2
    assert "has decay constant, but objective" in capsys.readouterr().err
