"""Throughput of many workers on one PostgreSQL: `python -m tests.bench.machines`.

Workers and server are on this machine; the server flushes to disk, as in production. Workers are
separate processes that run the same command (random sampler, no tracking), each with one thread.
A thousand workers are simulated with the costs measured here.
"""

import dataclasses
import heapq
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna
import sqlalchemy
from optuna.trial import TrialState, create_trial

from lrsearch.distributions import distributions
from lrsearch.outcome import Outcome, Trial
from lrsearch.schedule import Schedule
from lrsearch.space import Space
from lrsearch.study.heartbeat import BEAT, Heartbeat
from lrsearch.study.settings import Settings
from lrsearch.study.spec import resolve
from lrsearch.study.store import Store
from lrsearch.study.trial_cache import TrialCache
from tests.bench.machine import record
from tests.doubles import Bowl
from tests.machines.postgres import PASSWORD, Postgres

SLEEP = Path(__file__).with_name("sleep.py")
WORKERS, EACH = (1, 2, 4, 8), 30
IN_FLIGHT, CYCLES, TURNS = (1, 8, 64, 256, 1000), 40, 5


def search(url, name, trials, workers):
    """Run a study with N processes and return its Optuna trials."""
    words = ["--sampler", "random", "--no-compare", "--tracking-uri", "none", "--quiet"]
    command = [sys.executable, "-m", "lrsearch", "tune", f"{SLEEP}:{name}", *words]
    command += ["--trials", str(trials), "--storage", url]
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"stdout": subprocess.DEVNULL, "cwd": folder}
        processes = [subprocess.Popen(command, **quiet) for _ in range(workers)]
        assert [p.wait() for p in processes] == [0] * workers
    storage = optuna.storages.RDBStorage(url, {"poolclass": sqlalchemy.NullPool})
    found = optuna.load_study(study_name=f"{name}-default", storage=storage).trials
    assert sorted(t.user_attrs["lrsearch"]["index"] for t in found) == list(range(trials))
    return found


def rate(trials):
    """Return trials per second while all workers were busy, and the number of workers."""
    begun = {}
    for trial in trials:
        begun.setdefault(trial.user_attrs["lrsearch.attempt"]["worker"], []).append(trial)
    first = max(min(t.datetime_start for t in own) for own in begun.values())
    last = min(max(t.datetime_complete for t in own) for own in begun.values())
    inside = sorted(t.datetime_complete for t in trials if first < t.datetime_complete <= last)
    return (len(inside) - 1) / (inside[-1] - inside[0]).total_seconds(), len(begun)


def throughput(postgres):
    """Return trials per second for trials of one second, in total and per worker."""
    found = {}
    for workers in WORKERS:
        trials = search(postgres.fresh(f"second{workers}"), "second", EACH * workers, workers)
        each, seen = rate(trials)
        assert seen == workers
        found[f"workers_{workers}"] = {
            "trials_a_second": round(each, 3),
            "of_as_many_workers": round(each / workers, 3),
        }
    return found


def overhead(postgres):
    """Return the overhead of a trial of 50 ms, in time of its worker."""
    found = {}
    for workers in (1, 8):
        trials = search(postgres.fresh(f"moment{workers}"), "moment", 400, workers)
        each, seen = rate(trials)
        found[f"workers_{workers}"] = {
            "trials": 400,
            "trials_a_second": round(each, 2),
            "ms_a_trial_beside_its_50": round(1e3 * (seen / each - 0.05), 1),
        }
    return found


def server_seconds():
    """Return the CPU time of all PostgreSQL processes, in seconds."""
    total, tick = 0, os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if name.startswith("postgres"):
            total += sum(map(int, rest.split()[11:13]))
    return total / tick


def transactions(postgres, database):
    """Return the number of committed transactions; sessions report theirs about once a second."""
    time.sleep(1.2)
    asked = f"SELECT xact_commit FROM pg_stat_database WHERE datname = '{database}'"
    return int(postgres.psql(asked))


def costs(postgres):
    """Return the database costs of a trial for several numbers of trials in flight."""
    url, bowl = postgres.fresh("costs"), Bowl()
    found = {"by_in_flight": {}}
    request = resolve(Settings(space=Space.load("cosine"), storage=url, study="s"), bowl.setup)
    with (
        Store.join(request) as store,
        Heartbeat(store.storage, store.key, store.lock, store.clock) as heartbeat,
    ):
        mine, done, others = store.table.join(heartbeat), 0, 0
        point = {name: d.low for name, d in distributions(request.space).items()}
        for in_flight in IN_FLIGHT:
            while others < in_flight - 1:  # owned by this worker, so that no worker requeues them
                own = {"index": 10**6 + others, "worker": heartbeat.worker.id}
                own |= {"retry": 0, "point": point}
                begun = create_trial(
                    state=TrialState.RUNNING,
                    params=point,
                    distributions=distributions(request.space),
                    user_attrs={"lrsearch.attempt": own},
                )
                store.storage.create_new_trial(store.key, begun)
                others += 1
            store.table.refresh()
            locked, before = [], transactions(postgres, "costs")
            store.clock.clock()
            used, began = server_seconds(), time.perf_counter()
            for _ in range(CYCLES):
                store.table.refresh()
                started = time.perf_counter()
                mine.begin(done, point)
                locked.append(time.perf_counter() - started)
                outcome = Outcome(trial=done, replicate=0, state="finished", value=1.0)
                schedule = Schedule(peak=0.1)
                mine.end(Trial(index=done, schedule=schedule, outcomes=(outcome,)), None)
                done += 1
            wall, used = time.perf_counter() - began, server_seconds() - used
            time.sleep(1.2)
            store.clock.clock()
            found["by_in_flight"][str(in_flight)] = {
                "ms_a_trial": round(1e3 * wall / CYCLES, 1),
                "ms_under_the_lock": round(1e3 * statistics.median(locked), 1),
                "ms_of_the_server": round(1e3 * used / CYCLES, 1),
                "transactions": round((transactions(postgres, "costs") - before) / CYCLES, 1),
            }
        # Every other worker reads a trial that has ended once.
        for _ in range(TURNS):
            with store.storage.session() as connection:
                TrialCache(store.key).look(connection)  # warm up the caches
        used, read = server_seconds(), 0
        for _ in range(TURNS):
            with store.storage.session() as connection:
                read += len(TrialCache(store.key).look(connection))
        found["us_of_the_server_to_read_a_trial"] = round(1e6 * (server_seconds() - used) / read)
        # A heartbeat with a thousand workers in the list.
        for i in range(1, 1000):
            record = dataclasses.asdict(dataclasses.replace(heartbeat.worker, id=f"w{i}"))
            store.keep(f"lrsearch.worker.{i}", record)
        used = server_seconds()
        for _ in range(CYCLES):
            assert heartbeat._is_listed
            heartbeat._attend()
        beat = 1e3 * (server_seconds() - used) / CYCLES
        found["ms_of_the_server_for_a_beat_of_1000"] = round(beat, 1)
    return found


def pgbench(postgres):
    """Return transactions per second of PostgreSQL's own benchmark (update, select, insert)."""
    postgres.fresh("pgbench")
    words = ["-h", "127.0.0.1", "-p", str(postgres.port), "-U", "me"]
    postgres.run("pgbench", "-i", "-q", "-s", "10", *words, "pgbench")
    report = postgres.run("pgbench", "-N", "-c", "8", "-j", "2", "-T", "15", *words, "pgbench")
    rate = float(re.search(r"tps = ([\d.]+)", report)[1])
    return {"clients": 8, "transactions_a_second": round(rate)}


def simulate(workers, seconds, locked, served, cores, trials=4000):
    """Simulate a closed queue of workers and return their trials per second.

    Per trial a worker trains for `seconds`, has the lock, which only one worker can have, for
    `locked` seconds, and uses one of the server's `cores` for `served` seconds.
    """
    arriving = [(seconds * (i + 1) / workers, i) for i in range(workers)]
    heapq.heapify(arriving)
    lock, free, ended = 0.0, [0.0] * cores, []
    while len(ended) < trials:
        now, worker = heapq.heappop(arriving)
        lock = max(now, lock) + locked
        core = heapq.heappop(free)
        left = max(lock, core) + served
        heapq.heappush(free, left)
        ended.append(left)
        heapq.heappush(arriving, (left + seconds, worker))
    ended.sort()
    half = ended[len(ended) // 2 :]
    return (len(half) - 1) / (half[-1] - half[0])


def thousand(found):
    """Estimate up to a thousand workers by simulation and by formula, from measured costs."""
    rows = {}
    for workers in (64, 256, 1000):
        cost = found["by_in_flight"][str(workers)]
        locked, served = cost["ms_under_the_lock"] / 1e3, cost["ms_of_the_server"] / 1e3
        # Between two reads of a worker, every other worker has ended one trial, which it reads.
        served += workers * found["us_of_the_server_to_read_a_trial"] / 1e6
        # A heartbeat reads the list of all workers.
        beats = workers / BEAT * found["ms_of_the_server_for_a_beat_of_1000"] / 1e3 * workers / 1e3
        cores = os.cpu_count() - beats
        for seconds in (10, 60, 600):
            paper = min(workers / (seconds + locked + served), 1 / locked, cores / served)
            each = simulate(workers, seconds, locked, served, cores=max(1, round(cores)))
            rows[f"workers_{workers}_trials_of_{seconds}_s"] = {
                "trials_a_second": round(each, 2),
                "on_paper": round(paper, 2),
                "transactions_a_second": round(each * cost["transactions"] + 2 * workers / BEAT),
                "cores_of_the_server": round(each * served + beats, 2),
                "share_of_the_workers_busy": round(each * seconds / workers, 3),
            }
    return rows


def main():
    os.environ |= {"OMP_NUM_THREADS": "1", "PGPASSWORD": PASSWORD}
    postgres = Postgres(durable=True)
    try:
        figures = {"pgbench": pgbench(postgres), "costs_of_a_trial": costs(postgres)}
        figures["a_thousand"] = thousand(figures["costs_of_a_trial"])
        figures["trials_of_a_second"] = throughput(postgres)
        figures["short_trials"] = overhead(postgres)
    finally:
        postgres.close()
    record("machines", figures)


if __name__ == "__main__":
    main()
