"""Every example runs in its own folder and prints the expected results."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lrsearch import Schedule

EXAMPLES = Path(__file__).parent.parent / "examples"
SAYS = {
    "tune_quadratic.py": r"ratio: 1\.0[0-4]",
    "tune_digits.py": r"held-out accuracy 0\.9",
    "read_study.py": r"wrote best\.json and best\.csv",
    "peak_and_shape.py": r"peak 7\d%, shape [3-6]%(.*\n)+.*best peak: -0\.\d+\n",
    "torch_task.py": r"best 0\.0[0-4]\d+ loss with Schedule",
    "torch_loop.py": r"best 0\.0[0-3]\d* mean square\nloss after 1000 steps: 0\.0[0-2]",
    "transformers_trainer.py": r"best 0\.[0-6].*\nloss after 120 steps: 0\.[0-6]",
    "lightning_module.py": r"best 0\.[0-3].* nats .*\n(.*\n)*loss after 100 steps: 0\.[0-3]",
    "transfer_learning.py": r"(body at +\S+ of the head's rate: 0\..* nats, warmup .*\n){3}",
    "gan_two_rates.py": r"default schedule \d\.\d+, best 0\.[0-6]\d+\npeak rates: discriminator ",
    "sgd_classifier.py": r"best 0\.[01]\d+ nats\nheld-out accuracy after 500 steps: 0\.9",
    "numpy_loop.py": r"0\.01\d+ mean square, distance 0\.",
    "edge_of_stability.py": r"constant 0\.1: largest 0\.[67](.*\n)+constant 0\.8: largest [12]\.",
    "noise_and_plateaus.py": r"constant +loss 0\.0330.*\ncosine +loss 0\.0019",
    "smoothness.py": r"total_variation +rank correlation with the value [+-]0\.[01]",
    "damping.py": r"torch: 0 sign changes(.*\n)classical: 1 sign changes",
    "margin_direction.py": r"constant +angle 0\.35(.*\n)+t\^-1 +angle 0\.4[12]",
    "convex_bound.py": r"additive noise, 200 steps: .* \+0\.96(.*\n)+multiplicative.* \+0\.[012]",
}


def test_every_example_has_a_test():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SAYS)


#: Slow examples; their parts are tested elsewhere.
LONG = (
    *("gan_two_rates.py", "lightning_module.py", "sgd_classifier.py", "transfer_learning.py"),
    *("transformers_trainer.py", "torch_loop.py", "torch_task.py", "peak_and_shape.py"),
    *("tune_digits.py", "tune_quadratic.py", "read_study.py"),
    *("edge_of_stability.py", "smoothness.py", "margin_direction.py", "convex_bound.py"),
    "numpy_loop.py",
)
#: The plot that an example writes.
PICTURES = {
    "edge_of_stability.py": "edge.png",
    "noise_and_plateaus.py": "noise.png",
    "smoothness.py": "smoothness.png",
    "damping.py": "damping.png",
    "margin_direction.py": "margin.png",
    "convex_bound.py": "bound.png",
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in SAYS]
)
def test_an_example_runs(tmp_path, name):
    words = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 280}
    done = subprocess.run([sys.executable, EXAMPLES / name], **words, check=True)
    assert re.search(SAYS[name], done.stdout)
    if name == "read_study.py":
        schedule = Schedule.load(tmp_path / "best.json")
        assert len((tmp_path / "best.csv").read_text().splitlines()) == 201
        assert f"with peak {schedule.peak:.3g}" in done.stdout  # the recommended one
    if name in PICTURES:
        assert (tmp_path / PICTURES[name]).stat().st_size > 10_000
    if name == "tune_digits.py":
        assert (tmp_path / "mlflow.db").is_file()
