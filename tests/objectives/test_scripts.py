"""Whole scripts of people: tuned with at most one changed line, and the winner put back."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lrsearch
from lrsearch.cli import main
from lrsearch.seeding import run_seed

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).parents[1] / "scripts"
CHANGED = "# CHANGED LINE\n"
ASKED = ["--trials", "3", "--sampler", "random", "--tracking-uri", "none", "--no-compare"]
ASKED += ["--quiet"]
GPT = ["--steps", "60", "--set", "peak=1e-3..1e-1", "--value", "val loss {value}"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for script in SCRIPTS.glob("*.py"):
        (tmp_path / script.name).write_text(script.read_text())
    (tmp_path / "small.py").write_text("batch_size = 8\n")
    return tmp_path


def tune(*words):
    assert main(["tune", *ASKED, *words]) == 0


def run(*words):
    """Return the output of a command."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def output_of(result, trial):
    folder = Path("lrsearch-studies", f"{result.study}.runs", f"{trial.index:04d}-0")
    return (folder / "output.txt").read_text()


def rates(text):
    return [float(number) for number in re.findall(r"(?:lr|rate) ([\d.e-]+)", text)]


def winner(study, capsys):
    """Return the best trial, and its exported command line with the seed of the search."""
    best = lrsearch.load(study).best
    capsys.readouterr()
    assert main(["export", study, "--to", "flags"]) == 0
    words = shlex.split(capsys.readouterr().out)
    seed = words.index(next(word for word in words if word.startswith("--seed=")))
    assert words[seed] == "--seed=0"
    words[seed] = f"--seed={run_seed(0, 0)}"
    return best, words


def test_a_gpt_trainer_is_tuned_by_its_overrides_without_a_changed_line(here, capsys):
    line = [sys.executable, "gpt.py", "small.py", "--learning_rate={peak}"]
    line += ["--warmup_iters={warmup_steps}", "--max_iters={steps}", "--seed={seed}"]
    tune("--space", "cosine", "--set", "floor=0", *GPT, "--", *line, "--out_dir={folder}")
    result = lrsearch.load("gpt-cosine")
    assert result.counts["finished"] == 3
    for trial in result.trials:
        plan = result.budget.plan(trial.schedule)
        expected = [*plan.lr[::20], 0.0]  # the script's last update, after the plan, is at rate 0
        assert rates(output_of(result, trial)) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    best, words = winner("gpt-cosine", capsys)
    assert f"val loss {best.value:.6f}" in run(*words)


def test_a_gpt_trainer_follows_any_schedule_by_one_changed_line(here, caplog):
    script = (here / "gpt.py").read_text()
    one = "import lrsearch.client; get_lr = lrsearch.client.rates(get_lr, steps=max_iters)\n"
    (here / "gpt.py").write_text(script.replace(CHANGED, one))
    untuned = run(sys.executable, "gpt.py", "small.py")  # outside a search nothing changes
    assert untuned == run(sys.executable, str(SCRIPTS / "gpt.py"), "small.py")
    report = ["--report", "iter {t}: loss {loss}"]
    line = [sys.executable, "gpt.py", "small.py", "--max_iters=60", "--seed={seed}"]
    tune("--space", "spline", *GPT, *report, "--", *line)
    assert caplog.text.count("a report of step 60 is ignored; the steps are 0 to 59") == 1
    result = lrsearch.load("gpt-spline")
    assert result.counts["finished"] == 3
    for trial in result.trials:
        plan = result.budget.plan(trial.schedule)
        assert rates(output_of(result, trial)) == [*plan.lr[::20], plan.lr[-1]]
        assert trial.outcomes[0].traces["loss"].updates[-1] == 59
    assert main(["export", "gpt-spline", "--to", "python", "-o", "best_lr.py"]) == 0
    back = script.replace(CHANGED, "from best_lr import get_lr\n")
    (here / "gpt.py").write_text(back)
    seed = f"--seed={run_seed(0, 0)}"
    text = run(sys.executable, "gpt.py", "small.py", "--max_iters=60", seed)
    assert f"val loss {result.best.value:.6f}" in text
    plan = result.budget.plan(result.best.schedule)
    assert rates(text) == pytest.approx([*plan.lr[::20], plan.lr[-1]], rel=1e-13)


def test_an_example_with_a_step_schedule_is_tuned_by_its_options(here, capsys):
    line = [sys.executable, "digits_steplr.py", "--lr={peak}", "--gamma={gamma}"]
    fields = ["--set", "peak=1e-2..1", "--set", "gamma=0.3..0.99", "--set", "drops=3"]
    fields += ["--set", "warmup=0"]
    value = ["--value", "Average loss: {value}", "--steps", "20", "--space", "step"]
    tune(*fields, *value, "--", *line, "--seed={seed}", "--epochs=4")
    result = lrsearch.load("digits_steplr-step")
    assert result.counts["finished"] == 3
    for trial in result.trials:  # five updates per epoch
        plan = result.budget.plan(trial.schedule)
        assert rates(output_of(result, trial)) == pytest.approx(plan.lr[::5], rel=1e-12)
    best, words = winner("digits_steplr-step", capsys)
    assert f"Average loss: {best.value:.6f}" in run(*words)


def test_a_trainer_script_is_tuned_by_its_arguments_and_a_json_file(here, capsys):
    line = [sys.executable, "finetune.py", "--learning_rate={peak}", "--max_steps={steps}"]
    line += ["--warmup_steps={warmup_steps}", "--lr_scheduler_type=linear", "--seed={seed}"]
    line += ["--logging_steps=1", "--save_strategy=no", "--report_to=none", "--use_cpu=True"]
    line += ["--output_dir={folder}"]
    value = ["--value-from", "{folder}/eval_results.json:eval_loss"]
    report = ["--report", "{t}/20 {}'loss': {loss}"]
    shape = ["--space", "linear", "--set", "floor=0", "--set", "peak=1e-4..1e-1", "--steps", "20"]
    tune(*shape, *value, *report, "--", *line)
    result = lrsearch.load("finetune-linear")
    assert result.counts["finished"] == 3
    for trial in result.trials:
        text = output_of(result, trial)
        logged = [float(n) for n in re.findall(r"'learning_rate': '([\d.e-]+)'", text)]
        warm = trial.schedule.phases(20)[0]
        # Trainer's own warmup begins at rate 0, one step late.
        expected = [min(t / warm, (20 - t) / (20 - warm)) for t in range(20)]
        peak = trial.schedule.peak
        assert logged == pytest.approx([peak * part for part in expected], rel=1e-3, abs=1e-9)
    best, words = winner("finetune-linear", capsys)
    run(*words)
    found = (here / "finetune-linear-best" / "eval_results.json").read_text()
    assert f'"eval_loss": {best.value!r}' in found


def test_a_command_may_start_two_processes_that_train_together(here):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    line = [*launcher, "--nproc_per_node=2", "two_ranks.py"]
    tune("--steps", "20", "--space", "cosine", "--set", "peak=1e-3..1", "--", *line)
    result = lrsearch.load("two_ranks-cosine")
    assert result.counts["finished"] == 3
    for trial in result.trials:
        x = np.array([1.0, 2.0])
        for lr in result.budget.plan(trial.schedule).lr:
            x = x - lr * x.mean()
        assert trial.value == pytest.approx(x.sum() ** 2, rel=1e-4, abs=1e-9)
        assert len(trial.outcomes[0].traces["loss"].updates) == 20
