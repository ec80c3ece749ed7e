"""Tests of functions as objectives: values, errors, output, folders and workers."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

import lrsearch
from lrsearch.cli import main
from lrsearch.codec import decode, encode
from lrsearch.errors import RequestError, SearchFailed
from lrsearch.objectives.function import FunctionObjective
from lrsearch.objectives.loading import find_objective, load_reference
from lrsearch.outcome import Outcome
from lrsearch.ranges import Range
from lrsearch.run import Run
from lrsearch.schedule import Schedule
from lrsearch.seeding import run_seed
from tests.doubles import wait_until

TRAIN = '''
import sys
import lrsearch
from neighbour import square

@lrsearch.objective(unit="points", peak=(1e-3, 1.0), steps=30, positive=True)
def bowl(run):
    """Half a square."""
    x = 1.0 + run.seed % 5
    for t, (lr, _) in enumerate(run.plan):
        run.report(t, square(x))
        x -= lr * x
    print("noise on stdout")
    run.note("last", x)
    return square(x)

def plain(run):
    return bowl(run)

if __name__ == "__main__":
    sys.exit("must not run")
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "neighbour.py").write_text("def square(x):\n    return x * x / 2\n")
    (tmp_path / "code" / "train.py").write_text(TRAIN)
    yield tmp_path
    # Only modules of this folder are removed: torch cannot be imported twice.
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def run_of(function, **words):
    plan = Schedule(peak=0.1).plan(20, 1)
    return function.answer(Run(trial=0, replicate=0, seed=0, plan=plan, **words))


def answer(function, **words):
    return run_of(lrsearch.objective(function), **words)


def test_a_decorated_function_can_be_called_and_has_a_setup():
    @lrsearch.objective(unit="points", peak=(1e-3, 1.0), momentum=0.9, steps=7, batch=3)
    def small(run):
        """The first line.

        More.
        """
        return 3.0

    assert isinstance(small, FunctionObjective)
    assert small(None) == 3.0
    assert small.__name__ == "small"
    setup = small.setup
    assert (setup.name, setup.unit, setup.about) == ("small", "points", "The first line.")
    assert (setup.steps, setup.batch, setup.slots, setup.momentum) == (7, 3, 1, 0.9)
    assert setup.entries["peak"] == Range(low=1e-3, high=1.0, log=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"direction": "maximize"}, "return the negative"),
        ({"peak": 3}, None),
        ({"peak": (1.0, 0.1)}, "low"),
        ({"peak": (0, 1)}, "peak"),
        ({"peak": "high"}, "peak"),
        ({"peak": (1, 2, 3)}, "pair"),
        ({"momentum": 1.5}, "momentum"),
        ({"steps": 0}, "steps"),
        ({"batch": "many"}, "batch"),
        ({"usual_peak": "x"}, "usual_peak"),
        ({"version": -1}, "version"),
    ],
)
def test_an_invalid_argument_of_the_decorator_is_rejected(words, message):
    if message is None:  # a number fixes the peak
        assert lrsearch.objective(print, **words).setup.entries == {"peak": 3.0}
        return
    with pytest.raises(RequestError, match=message):
        lrsearch.objective(**words)(print)


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.array(2.0), torch.tensor(2.0)])
def test_any_number_is_a_value(value):
    outcome = answer(lambda run: value)
    assert (outcome.state, outcome.value) == ("finished", 2.0)


@pytest.mark.parametrize("value", [None, "2", [1.0], np.ones(2), torch.ones(2), True, {}])
def test_a_value_that_is_not_a_number_is_a_failure(value):
    outcome = answer(lambda run: value)
    assert outcome.state == "failed"
    assert "which is not a number; return the value" in outcome.reason


class Odd:
    """An object whose methods raise errors of the user's."""

    def __float__(self):
        raise KeyError("float")

    __index__ = __repr__ = __str__ = __float__


class OddError(Exception):
    def __str__(self):
        raise KeyError("text")

    __repr__ = __str__


def raise_odd(run):
    raise OddError


#: Everyday mistakes in an objective, and what the failed trial says.
MISTAKES = {
    "no loss": (lambda run: run.report(0, None), "the loss of step 0 is None, which is not a"),
    "array": (lambda run: run.report(0, np.ones(3)), "the loss of step 0 is array("),
    "text": (lambda run: run.report(0, "0.5"), "the loss of step 0 is '0.5', which is not a"),
    "huge loss": (lambda run: run.report(0, 10**5000), "the loss of step 0 is an integer of thou"),
    "odd loss": (lambda run: run.report(0, Odd()), "the loss of step 0 is <Odd instance at 0x"),
    "odd step": (lambda run: run.report(Odd(), 1.0), "the step is <Odd instance at 0x"),
    "half a step": (lambda run: run.report(0.5, 1.0), "the step is 0.5; report an integer"),
    "huge value": (lambda run: 10**400, "<lambda> returned 1000000"),
    "odd value": (lambda run: Odd(), "<lambda> returned <Odd instance at 0x"),
    "odd error": (raise_odd, "OddError: its message cannot be shown"),
    "note of a number": (lambda run: run.note(3, 1.0), "a note has the name 3; give printable"),
    "note without a name": (lambda run: run.note("", 1.0), "a note has the name ''; give"),
    "note in colour": (lambda run: run.note("\x1b[31m", 1.0), "a note has the name '\\x1b[31m'"),
    "long note": (lambda run: run.note("x" * 251, 1.0), "a note has the name 'xxx"),
    "own note": (lambda run: run.note("value", 1.0), "a note has the name value, which lrsearch"),
    "text as a note": (lambda run: run.note("accuracy", "high"), "note accuracy is 'high'; give"),
    "odd note": (lambda run: run.note("accuracy", Odd()), "note accuracy is <Odd instance at 0x"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_fails_the_run_with_a_line_that_names_it(case):
    function, reason = MISTAKES[case]
    outcome = answer(function)
    assert outcome.state == "failed"
    assert outcome.reason.removeprefix("RequestError: ").startswith(reason)
    assert decode(Outcome, json.loads(json.dumps(encode(outcome)))) == outcome


def test_text_of_an_error_is_valid_and_printable():
    def broken(run):
        raise OSError("a\udcffb\x00c\x1b[31m\nd")

    outcome = answer(broken)
    assert outcome.reason == "OSError: a b c [31m d"
    outcome.details.encode()
    assert all(c.isprintable() or c in "\n\t" for c in outcome.details)


FORKS = """
import os
import lrsearch

@lrsearch.objective(peak=(1e-3, 1.0))
def forks(run):
    child = os.fork()
    if not child:
        if run.trial == 1:
            raise ValueError("in the child")
        return 7.0
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == (1 if run.trial == 1 else 0)
    return 1.0

if __name__ == "__main__":
    words = {"trials": 3, "space": "cosine", "sampler": "random", "tracking_uri": "none"}
    print([trial.value for trial in lrsearch.tune(forks, **words).trials])
"""


def test_a_forked_child_that_leaves_the_function_does_not_search(tmp_path):
    """The child would be a second copy of the search: it would end the same trial again."""
    (tmp_path / "forks.py").write_text(FORKS)
    done = subprocess.run(
        [sys.executable, "forks.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout == "[1.0, 1.0, 1.0]\n"
    assert "ValueError: in the child" in done.stderr


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_not_finite_is_a_divergence(value):
    assert answer(lambda run: value).state == "diverged"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no\nway"), "ValueError: no way"),
        (KeyError(), "KeyError"),
        (SystemExit(3), r"the objective called sys.exit(3)"),
        (MemoryError("x" * 1000), "MemoryError: " + "x" * 287),
    ],
)
def test_an_exception_gives_a_failed_outcome_with_its_traceback(error, reason):
    def broken(run):
        raise error

    outcome = answer(broken)
    assert (outcome.state, outcome.reason) == ("failed", reason)
    assert outcome.details.startswith("Traceback (most recent call last):\n")
    assert "in broken\n    raise error" in outcome.details
    assert "function.py" not in outcome.details.replace(__file__, "")


def test_an_interrupt_is_raised_again():
    def interrupted(run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer(interrupted)


def test_a_diverged_run_ends_even_if_the_function_catches_all_exceptions():
    def stubborn(run):
        for t in range(20):
            try:
                run.report(t, float("inf"))
            except Exception:  # noqa: BLE001  # as users' code does
                return 1.0
        return None

    outcome = answer(stubborn)
    assert outcome.state == "diverged"
    assert "update 0" in outcome.reason


def test_a_run_without_a_study_has_no_folder():
    assert "has no folder" in answer(lambda run: run.folder).reason


def test_three_failures_in_a_row_stop_the_search_with_the_traceback(tmp_path):
    calls = []

    @lrsearch.objective(peak=(1e-3, 1.0), steps=5)
    def fails(run):
        calls.append(run.trial)
        if run.trial in (1, 2, 4, 5, 6):
            raise ValueError(f"trial {run.trial}")
        return 1.0

    words = {"trials": 50, "tracking_uri": "none", "storage": tmp_path / "x.journal"}
    with pytest.raises(SearchFailed, match=r"3 trials in a row failed.*trial 6") as caught:
        lrsearch.tune(fails, sampler="random", **words, compare=False)
    assert calls == [0, 1, 2, 3, 4, 5, 6]
    assert "in fails" in caught.value.details
    result = lrsearch.load("fails-default", storage=tmp_path / "x.journal")
    assert result.counts == {"finished": 2, "diverged": 0, "pruned": 0, "failed": 5}
    assert "ValueError: trial 2" in result.trial(2).details


def test_a_repeated_run_has_the_same_folder(tmp_path):
    @lrsearch.objective(peak=(1e-3, 1.0), steps=5)
    def resumes(run):
        mark = run.folder / "checkpoint"
        if run.trial == 2 and run.replicate == 1 and not mark.exists():
            mark.write_text("half way")
            raise KeyboardInterrupt
        return 1.0 + run.trial + len(list(run.folder.iterdir()))

    words = {"trials": 4, "seeds": 2, "tracking_uri": "none", "storage": tmp_path / "x.journal"}
    with pytest.raises(KeyboardInterrupt):
        lrsearch.tune(resumes, **words, compare=False)
    result = lrsearch.tune(resumes, **words, compare=False)
    assert [t.value for t in result.trials] == [1.0, 2.0, 3.5, 4.0]
    assert (tmp_path / "resumes-default.runs" / "0002-1" / "checkpoint").is_file()


def test_the_command_line_searches_an_objective_of_a_file(here, capsys):
    words = ["tune", "code/train.py:bowl", "--trials", "8", "--tracking-uri", "none", "--json"]
    assert main([*words, "--quiet"]) == 0
    captured = capsys.readouterr()
    record = json.loads(captured.out)
    assert record["trials"]["finished"] == 8
    assert (record["study"], record["unit"], record["steps"]) == ("bowl-default", "points", 30)
    assert "last" in record["best"]["diagnostics"]
    assert "noise on stdout" in captured.err
    first = lrsearch.load("bowl-default").trials[0].outcomes[0].traces["loss"].values[0]
    assert first == (1.0 + run_seed(0, 0) % 5) ** 2 / 2  # computed by `square` of neighbour.py


def test_a_reference_names_a_module_a_file_or_an_undecorated_function(here, monkeypatch):
    monkeypatch.chdir(here / "code")
    assert load_reference("train:bowl").setup.name == "bowl"
    assert load_reference("train.py").setup.name == "bowl"
    assert find_objective("train.py:plain", None, "auto").setup.name == "plain"


def test_a_file_with_the_name_of_a_library_does_not_replace_it(here):
    (here / "code" / "json.py").write_text("import lrsearch\n\ndef f(run):\n    return 1.0\n")
    assert load_reference("code/json.py:f")(None) == 1.0
    assert sys.modules["json"] is json


BROKEN = {
    "syntax.py": ("def f(:\n", r"SyntaxError.* at .*syntax.py:1; check it with Python first"),
    "missing.py": ("import no_such_thing\n", r"ModuleNotFoundError.* at .*missing.py:1"),
    "exits.py": (
        "import sys\n\nsys.exit(3)\n",
        r"exits.py calls sys.exit\(3\) when it is imported",
    ),
    "empty.py": ("", r"has 0 objectives: none; decorate"),
    "two.py": (
        "import lrsearch\n@lrsearch.objective\ndef a(run): ...\n"
        "@lrsearch.objective\ndef b(run): ...\n",
        r"has 2 objectives: a, b; give .*two.py:NAME",
    ),
    "searches.py": (
        "import lrsearch\nlrsearch.tune('nonsense')\n",
        "there is no objective 'nonsense'",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_cannot_be_used_is_rejected_with_the_cause(here, name):
    text, message = BROKEN[name]
    (here / name).write_text(text)
    with pytest.raises(RequestError, match=message) as caught:
        load_reference(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nowhere.py:f", "there is no file nowhere.py"),
        ("code/train.py:bwl", "has no 'bwl'; did you mean 'bowl'"),
        ("code/train.py:a b", "give FILE.py:NAME or"),
        ("code/train.py:", "give FILE.py:NAME or"),
        (":f", "give FILE.py:NAME or"),
        ("no_such_module:f", "cannot import no_such_module: ModuleNotFoundError"),
        ("code/train.py:sys", "give the name of a built-in objective"),
        ("code:x", "has no 'x'"),
    ],
)
def test_an_invalid_reference_is_rejected_with_the_cause(here, reference, message):
    with pytest.raises(RequestError, match=message):
        find_objective(reference, None, "auto")


def test_options_set_the_fields_of_a_task_class(here):
    (here / "task.py").write_text(
        textwrap.dedent(
            """
            import torch
            import lrsearch

            class Line(lrsearch.TorchTask):
                peak = (1e-3, 0.3)
                steps = 20
                train = validation = (torch.linspace(-1, 1, 64), torch.linspace(0, 1, 64))

                def model(self, generator):
                    return torch.nn.Linear(1, 1)

                def loss(self, model, batch):
                    x, y = batch
                    return (model(x[..., None])[..., 0] - y).square()
            """
        )
    )
    words = {"tracking_uri": "none", "trials": 2, "slots": 1}
    lrsearch.tune("task.py:Line", options={"optimizer": "adam"}, **words, compare=False)
    with pytest.raises(RequestError, match="option optimizer was adam, is now not set"):
        lrsearch.tune("task.py:Line", **words, compare=False)
    with pytest.raises(RequestError, match="no field 'optimiser'; did you mean 'optimizer'"):
        lrsearch.tune("task.py:Line", options={"optimiser": "adam"}, **words, compare=False)
    with pytest.raises(RequestError, match="optimizer is 'lion'"):
        lrsearch.tune("task.py:Line", options={"optimizer": "lion"}, **words, compare=False)


WORKED = '''
import os
import sys
import time
import lrsearch

@lrsearch.objective(unit="points", peak=(1e-3, 1.0), steps=5)
def value(run):
    """A value that does not depend on the process."""
    time.sleep(0.002 * (run.trial % 3))
    print("printed", flush=True)
    run.report(0, 1.0)
    return run.plan.lr[0] + run.seed % 10

@lrsearch.objective(peak=(1e-3, 1.0), steps=5)
def process(run):
    (run.folder / "pid").write_text(str(os.getpid()))
    (run.folder / "gpu").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    (run.folder / "threads").write_text(os.environ["OMP_NUM_THREADS"])
    time.sleep(0.05)
    return 1.0

@lrsearch.objective(peak=(1e-3, 1.0), steps=5)
def dies(run):
    mark = run.folder / "attempts"
    mark.write_text(mark.read_text() + "x" if mark.exists() else "x")
    if run.trial == 2 or (run.trial == 4 and mark.read_text() == "x"):
        os.kill(os.getpid(), 9)
    return 1.0 + run.trial

@lrsearch.objective(peak=(1e-3, 1.0), steps=5)
def raises(run):
    raise ValueError("in a worker")
'''


@pytest.fixture
def worked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "worked.py").write_text(WORKED)
    return tmp_path


def tune(name, trials, **words):
    return lrsearch.tune(
        f"worked.py:{name}", trials=trials, tracking_uri="none", **words, compare=False
    )


def test_workers_give_the_same_values_as_one_process(worked):
    words = {"seeds": 2, "sampler": "tpe", "pruner": "none"}
    parallel = tune("value", 12, workers=3, storage="a.journal", **words)
    lone = tune("value", 12, workers=1, storage="b.journal", **words)
    again = tune("value", 12, workers=3, storage="c.journal", **words)
    assert parallel.counts["finished"] == 12
    pairs = [(t.schedule, t.value) for t in parallel.trials]
    assert pairs == [(t.schedule, t.value) for t in again.trials]
    for trial, other in zip(parallel.trials, lone.trials, strict=True):
        if trial.schedule == other.schedule:
            assert [o.traces for o in trial.outcomes] == [o.traces for o in other.outcomes]
            assert trial.value == other.value
    assert parallel.trials[0].schedule == lone.trials[0].schedule


def test_every_worker_has_a_device_and_its_share_of_the_cores(worked, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8), raising=False)
    result = tune("process", 9, workers=3, sampler="random")
    assert result.counts["finished"] == 9
    folders = sorted((worked / "lrsearch-studies" / "process-default.runs").iterdir())
    seen = {tuple((f / n).read_text() for n in ("pid", "gpu", "threads")) for f in folders}
    assert len({pid for pid, _, _ in seen}) == 3
    assert len(seen) == 3
    assert sorted(gpu for _, gpu, _ in seen) == ["4", "4", "7"]
    assert {threads for _, _, threads in seen} == {"2"}
    assert str(os.getpid()) not in {pid for pid, _, _ in seen}


def test_a_worker_that_dies_is_replaced_and_its_run_is_repeated(worked):
    result = tune("dies", 5, workers=2, sampler="random")
    assert [t.state for t in result.trials] == [*["finished"] * 2, "failed", *["finished"] * 3]
    assert result.trial(4).value == 5.0
    assert result.trial(2).reason == "its process died 4 times, the last with exit code -9"
    runs = worked / "lrsearch-studies" / "dies-default.runs"
    running = [(runs / f"{i:04d}-0" / "attempts").read_text() for i in range(6)]
    assert running == ["x", "x", "xxxx", "x", "xx", "x"]


def test_exceptions_in_workers_stop_the_search(worked):
    with pytest.raises(SearchFailed, match="ValueError: in a worker") as caught:
        tune("raises", 20, workers=2, sampler="random")
    assert "in raises" in caught.value.details


SCRIPT = """
import lrsearch

@lrsearch.objective(peak=(1e-3, 1.0), steps=5)
def small(run):
    return run.plan.lr[0]

{guard}
    result = lrsearch.tune(small, trials=6, workers=2, tracking_uri="none", sampler="random")
    print(result.counts["finished"])
"""


@pytest.mark.parametrize(
    ("guard", "code"),
    [
        ('if __name__ == "__main__":', 0),
        pytest.param("if True:", 1, marks=pytest.mark.slow),
    ],
)
def test_a_script_can_use_workers_below_a_main_guard(worked, guard, code):
    (worked / "script.py").write_text(SCRIPT.format(guard=guard))
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, done.stderr
    if code == 0:
        assert done.stdout == "6\n"
    else:
        assert "put the call below `if __name__ == '__main__':`" in done.stderr


def test_objectives_that_workers_cannot_run_are_rejected(tmp_path):
    @lrsearch.objective(peak=(1e-3, 1.0))
    def local(run):
        return 1.0

    words = {"workers": 2, "tracking_uri": "none", "storage": tmp_path / "x.journal"}
    with pytest.raises(RequestError, match=r"cannot import .*at the top level of a file"):
        lrsearch.tune(local, **words, compare=False)
    with pytest.raises(RequestError, match="runs in this process only"):
        lrsearch.tune("quadratic", **words, compare=False)
    with pytest.raises(RequestError, match="`workers=` is 0"):
        lrsearch.tune(local, **{**words, "workers": 0}, compare=False)
    assert not list(tmp_path.iterdir())


def test_workers_end_with_the_search(worked):
    """Check a search that is killed: a worker ends when its standard input closes."""
    (worked / "slow.py").write_text(
        "import os, time, pathlib, lrsearch\n"
        "@lrsearch.objective(peak=(1e-3, 1.0), steps=5)\n"
        "def slow(run):\n"
        "    pathlib.Path(f'{os.getpid()}.pid').touch()\n"
        "    time.sleep(600)\n"
        "    return 1.0\n"
    )
    words = ["tune", "slow.py:slow", "--workers", "2", "--tracking-uri", "none"]
    process = subprocess.Popen([sys.executable, "-m", "lrsearch", *words])

    def started():
        return [int(path.stem) for path in worked.glob("*.pid")]

    try:
        wait_until(lambda: process.poll() is not None or len(started()) == 2, 60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    assert len(started()) == 2
    wait_until(lambda: not [pid for pid in started() if _lives(pid)])


def _lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
