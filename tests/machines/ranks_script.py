"""A data-parallel training script that torchrun starts per rank; MODE chooses what goes wrong.

Every rank writes a line of JSON per run into the file `rank-R`, and its result into `result-R`.
"""

import json
import math
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

import lrsearch
from lrsearch.workers import ranks

MODE = os.environ["MODE"]
RANK = int(os.environ["RANK"])
ranks.GRACE = 3.0
if MODE != "unconnected":
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))


@lrsearch.objective(peak=(1e-3, 4.0), steps=8)
def ddp(run):
    """Train one weight on a quadratic whose curvature differs between the ranks."""
    weight, done = torch.ones(1), 0
    try:
        for t, (lr, _) in enumerate(run.plan):
            gradient = (1.0 + RANK) * weight
            dist.all_reduce(gradient)
            gradient /= dist.get_world_size()
            if MODE == "all raise" and run.trial == 1:
                raise OSError(f"disk of rank {RANK} is full")
            if RANK == 1 and run.trial == 1 and t == 3:
                _fail(run)
            weight -= lr * gradient
            loss = (1.0 + RANK) * float(weight**2)
            if run.trial == 2 and RANK == 1 and t == 4:
                loss = math.nan
            run.report(t, loss)
            done = t + 1
    finally:
        line = {"trial": run.trial, "seed": run.seed, "rates": list(map(float, run.plan.lr))}
        with Path(f"rank-{RANK}").open("a") as file:
            file.write(json.dumps({**line, "done": done}) + "\n")
    return float(weight**2) if RANK == 0 else None


def _fail(run):
    if MODE == "one raises":
        raise OSError("only on rank 1")
    if MODE == "one dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if MODE == "other step":
        run.report(5, 1.0)


def main():
    """Search, and write what this rank gets as the result."""
    words = {"trials": 6, "space": "cosine", "sampler": "random", "tracking_uri": "none"}
    words["compare"] = False
    words |= json.loads(os.environ.get("WORDS", "{}"))
    result = lrsearch.tune(ddp, **words)
    found = {"best": result.best.index, "value": result.best.value, "counts": result.counts}
    Path(f"result-{RANK}").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
