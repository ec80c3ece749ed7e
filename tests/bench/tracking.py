"""Cost of tracking and response time of a page: `python -m tests.bench.tracking [TRIALS]`.

A digits study of 500 trials with curves, alternately with MLflow on SQLite and without, on one
thread. Also measured: the size of the database, and the time of the query behind a study's page.
"""

import json
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import torch

import lrsearch
from lrsearch import publishing
from tests.bench.machine import record
from tests.doubles import free_port

TRIALS, TURNS, ASKED = 500, 1, 7


def search(folder, trials, uri, turn):
    """Return the wall seconds of a whole search, including the wait at its end."""
    began = time.perf_counter()
    lrsearch.tune(
        "digits",
        trials=trials,
        sampler="random",
        tracking_uri=uri,
        study=f"study-{turn}-{uri == 'none'}",
        storage=folder / f"{turn}-{uri == 'none'}.journal",
        device="cpu",
        compare=False,
    )
    return time.perf_counter() - began


def query(address, identity):
    """Return the median seconds of the query behind a study's page."""
    base, _, rest = address.partition("/#/experiments/")
    body = {
        "experiment_ids": [rest.partition("/")[0]],
        "filter": f"tags.`lrsearch.id` = '{identity}'",
        "order_by": ["metrics.`value` ASC"],
        "run_view_type": "ACTIVE_ONLY",
        "max_results": 100,
    }
    taken = []
    for _ in range(ASKED):
        request = urllib.request.Request(
            f"{base}/ajax-api/2.0/mlflow/runs/search",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        began = time.perf_counter()
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)["runs"]
        taken.append(time.perf_counter() - began)
        assert len(found) == 100
    return statistics.median(taken)


def main():
    torch.set_num_threads(1)
    trials = int(sys.argv[1]) if sys.argv[1:] else TRIALS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        database, ratios = folder / "m.db", []
        for turn in range(TURNS):
            plain = search(folder, trials, "none", turn)
            tracked = search(folder, trials, f"sqlite:///{database}", turn)
            ratios.append((tracked, plain))
            if turn == 0:
                size = database.stat().st_size
        study = "study-0-False"
        storage = folder / "0-False.journal"
        with publishing.serve(study, port=free_port(), storage=storage) as page:
            seconds = query(page.address, page.address.rpartition("lrsearch-")[2])
        os.chdir("/")
    adds = [100 * (tracked / plain - 1) for tracked, plain in ratios]
    figures = {
        "trials": trials,
        "seconds_without": round(min(plain for _, plain in ratios), 1),
        "seconds_with": round(min(tracked for tracked, _ in ratios), 1),
        "tracking_adds_per_cent": [round(each, 1) for each in adds],
        "database_mb": round(size / 1e6, 1),
        "page_query_s": round(seconds, 3),
    }
    record("tracking", figures)


if __name__ == "__main__":
    main()
