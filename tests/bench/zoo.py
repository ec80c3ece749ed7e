"""All combinations of the zoo: which models a population trains, and that it equals runs alone.

    python -m tests.bench.zoo

The same comparison is `pytest -m exhaustive tests/training/test_zoo.py`; this script also records
the reasons why models are trained alone.
"""

import time
import warnings

import torch

from tests.bench.machine import record
from tests.training.test_zoo import ALL, MODELS, check


def measure():
    torch.set_num_threads(1)
    began, alone, populations = time.perf_counter(), {}, 0
    for name, optimizer, variant in ALL:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reason = check(name, optimizer, variant)
        if reason:
            alone.setdefault(name, {}).setdefault(reason, 0)
            alone[name][reason] += 1
        else:
            populations += 1
    return {
        "models": len(MODELS),
        "combinations": len(ALL),
        "trained as a population, equal to runs alone": populations,
        "trained alone, by model and reason": alone,
        "seconds": round(time.perf_counter() - began),
    }


if __name__ == "__main__":
    record("zoo", measure())
