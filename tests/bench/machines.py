"""Many workers on one PostgreSQL, and a thousand of them: `python -m tests.bench.machines`.

Everything is on this machine, the server too, which waits for the disk as one in use does. Workers
are processes of their own that were given the same command (random sampler, no tracking), each on
one thread. What a thousand would need is simulated with the costs that are measured here.
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
from lrsearch.result import Outcome, Trial
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
    """The study's trials, as Optuna has them, after so many processes have searched it."""
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
    """Trials a second while all workers were at work, from the last start to the first end."""
    begun = {}
    for trial in trials:
        begun.setdefault(trial.user_attrs["lrsearch.attempt"]["worker"], []).append(trial)
    first = max(min(t.datetime_start for t in own) for own in begun.values())
    last = min(max(t.datetime_complete for t in own) for own in begun.values())
    inside = sorted(t.datetime_complete for t in trials if first < t.datetime_complete <= last)
    return (len(inside) - 1) / (inside[-1] - inside[0]).total_seconds(), len(begun)


def throughput(postgres):
    """Trials of a second each: trials a second, of as many as there are workers."""
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
    """What a short trial costs beside its 50 ms, in seconds of its worker."""
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
    """Processor time of all of PostgreSQL's processes, in seconds."""
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
    """Committed so far; a session reports its own about once a second."""
    time.sleep(1.2)
    asked = f"SELECT xact_commit FROM pg_stat_database WHERE datname = '{database}'"
    return int(postgres.psql(asked))


def costs(postgres):
    """What one trial asks of the database while so many are in flight in its study."""
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
            while others < in_flight - 1:  # of this worker, so that nobody takes them for dead
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
        # What others do with a trial that has ended: each of them reads it once.
        for _ in range(TURNS):
            with store.storage.session() as connection:
                TrialCache(store.key).look(connection)  # a first time, so that all is in memory
        used, read = server_seconds(), 0
        for _ in range(TURNS):
            with store.storage.session() as connection:
                read += len(TrialCache(store.key).look(connection))
        found["us_of_the_server_to_read_a_trial"] = round(1e6 * (server_seconds() - used) / read)
        # A worker's beat, where a thousand are listed.
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
    """Transactions a second of PostgreSQL's own benchmark: an update, a select, an insert."""
    postgres.fresh("pgbench")
    words = ["-h", "127.0.0.1", "-p", str(postgres.port), "-U", "me"]
    postgres.run("pgbench", "-i", "-q", "-s", "10", *words, "pgbench")
    told = postgres.run("pgbench", "-N", "-c", "8", "-j", "2", "-T", "15", *words, "pgbench")
    rate = float(re.search(r"tps = ([\d.]+)", told)[1])
    return {"clients": 8, "transactions_a_second": round(rate)}


def simulate(workers, seconds, locked, served, cores, trials=4000):
    """Trials a second of workers that train, then take the lock in turn, then use the server.

    A closed queue: `seconds` of training with nobody else, `locked` seconds that only one worker
    at a time has, `served` seconds on one of the server's `cores`.
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
    """A thousand workers, by simulation and on paper, with the costs at as many in flight."""
    rows = {}
    for workers in (64, 256, 1000):
        cost = found["by_in_flight"][str(workers)]
        locked, served = cost["ms_under_the_lock"] / 1e3, cost["ms_of_the_server"] / 1e3
        # Between two looks of a worker's each of the others has ended a trial, which it reads.
        served += workers * found["us_of_the_server_to_read_a_trial"] / 1e6
        # A beat reads the list, which is as long as there are workers.
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
