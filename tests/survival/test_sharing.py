"""Many processes on one study: which are alive, which one leads, whose trials are run again."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lrsearch import maintenance
from lrsearch.errors import SearchFailed
from lrsearch.search.comparison_spec import ComparisonSpec
from lrsearch.space import Space
from lrsearch.study import heartbeat
from lrsearch.study.heartbeat import LEASE, Heartbeat, Liveness, Worker
from lrsearch.study.location import Location
from lrsearch.study.locks import FileLock
from lrsearch.study.settings import Settings
from lrsearch.study.spec import resolve
from lrsearch.study.store import Store
from tests.doubles import (
    Bowl,
    Memory,
    Watch,
    asked,
    read_line,
    search,
    wait_for_threads,
    wait_until,
)
from tests.survival.swarm import STUDY, check_every_trial_ended_once, result_of, swarm

NAP = [f"{STUDY}:nap", "--no-compare", "--tracking-uri", "none", "--sampler", "random"]


@pytest.mark.parametrize(
    ("processes", "trials"), [pytest.param(8, 24, marks=pytest.mark.slow), (16, 96)]
)
def test_processes_that_start_on_an_empty_folder_share_one_study(tmp_path, processes, trials):
    words = [*NAP, "--trials", str(trials)]
    how = {"kills": 1, "alive": processes, "between": (0.0, 0.0), "seed": 0, "signal": 0}
    assert swarm(tmp_path, words, **how)[1] == 0
    assert check_every_trial_ended_once(tmp_path, "nap-default", trials) == 0


def join(folder, **words):
    """Open a study for a search in this process, as `run_search` does."""
    request = Settings(
        space=Space.load("cosine"), storage=str(folder / "x.journal"), study="s", **words
    )
    bowl = Bowl()
    resolved = resolve(request, bowl.setup)
    return Store.join(resolved)


def one_that_ended(folder):
    """Return trial 1 of such a study as it ends; the study itself is deleted."""
    done = search(Bowl(), folder, trials=3).trials[1]
    (folder / "x.journal").unlink()
    return done


def attend(store):
    return Heartbeat(store.storage, store.key, store.lock, store.clock)


@pytest.mark.parametrize("error", [PermissionError, FileNotFoundError])
def test_a_process_whose_start_this_user_may_not_read_is_alive_until_it_is_gone(
    monkeypatch, error
):
    """As for processes of other users if /proc is mounted with hidepid."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = heartbeat._started(process.pid)
    worker = dataclasses.replace(Worker.here(), pid=process.pid, started=started)
    other = dataclasses.replace(worker, id="other", started="1")
    assert [Liveness().alive(worker), Liveness().alive(other)] == [True, False]
    read = Path.read_text

    def hidden(path, *args, **words):
        if path.name == "stat":
            raise error(13, "hidden")
        return read(path, *args, **words)

    def kill(pid, signal):
        if error is PermissionError and process.poll() is None:
            raise PermissionError(1, "not permitted")
        return os_kill(pid, signal)

    os_kill = os.kill
    monkeypatch.setattr(Path, "read_text", hidden)
    monkeypatch.setattr(os, "kill", kill)
    assert Liveness().alive(worker)
    process.communicate(b"\n")
    assert not Liveness().alive(worker)


@pytest.mark.parametrize("pid", [0, -1, 10**30, 2**31 - 1])
def test_an_id_that_is_not_one_of_a_process_is_dead(pid):
    assert not Liveness().alive(dataclasses.replace(Worker.here(), pid=pid))


def test_one_process_at_a_time_runs_a_trial(tmp_path):
    one, two = join(tmp_path), join(tmp_path)
    with attend(one) as a, attend(two) as b:
        first, second = one.table.join(a), two.table.join(b)
        assert first.begin(0, {})
        assert not second.begin(0, {})
        assert second.begin(1, {})
        first.release()
        assert second.begin(0, {})


def test_a_trial_of_a_worker_that_was_taken_for_dead_counts_once(tmp_path, monkeypatch):
    """The worker was only slow: its late outcome is dropped."""
    done, one, two = one_that_ended(tmp_path), join(tmp_path), join(tmp_path)
    with attend(one) as a, attend(two) as b:
        slow, other = one.table.join(a), two.table.join(b)
        assert slow.begin(1, {})
        monkeypatch.setattr(Heartbeat, "alive", lambda self: {b.worker.id})
        two.table.refresh()
        other.reap()
        assert other.begin(1, {})
        assert other.end(done, None)
        assert not slow.end(done, None)
    third = join(tmp_path)
    assert list(third.trials()) == [1]
    assert third.table.lost == {1: 1}


def test_a_process_that_died_between_its_last_two_writes_has_ended_its_trial(
    tmp_path, monkeypatch
):
    done, one, two = one_that_ended(tmp_path), join(tmp_path), join(tmp_path)
    with attend(one) as a, attend(two) as b:
        dying, other = one.table.join(a), two.table.join(b)
        assert dying.begin(1, {})
        monkeypatch.setattr(one.storage, "set_trial_state_values", lambda *_: True)
        assert dying.end(done, None)
        two.table.refresh()
        assert list(two.table.trials) == []
        monkeypatch.setattr(Heartbeat, "alive", lambda self: {b.worker.id})
        other.reap()
        assert two.table.trials[1].value == done.value
        assert not two.table.lost


def test_on_this_machine_a_worker_is_alive_exactly_while_its_process_is():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    worker = dataclasses.replace(
        Worker.here(), pid=process.pid, started=heartbeat._started(process.pid)
    )
    assert Liveness().alive(worker)
    assert not Liveness().alive(dataclasses.replace(worker, started="0"))  # its pid was reused
    process.kill()
    wait_until(lambda: not Liveness().alive(worker))  # even as a zombie
    process.wait(30)
    assert not Liveness().alive(worker)
    assert not Liveness().alive(
        Worker.here()
    )  # a worker of this process that has not joined, or has left


def test_on_another_machine_a_worker_is_alive_while_it_sends_heartbeats(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "time", lambda: pytest.fail("a clock that can be set was read"))
    far, watch = dataclasses.replace(Worker.here(), host="elsewhere"), Liveness()
    assert watch.alive(far)
    clock[0] += LEASE - 1
    assert watch.alive(far)
    far = dataclasses.replace(far, beat=1)
    assert watch.alive(far)
    clock[0] += LEASE - 1
    assert watch.alive(far)
    clock[0] += 2
    assert not watch.alive(far)


def test_a_worker_sends_heartbeats_and_is_unregistered_when_it_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT", 0.01)
    store = join(tmp_path)
    with attend(store) as attending:
        wait_until(lambda: attending.worker.beat > 3)
        kept = store.storage.get_study_user_attrs(store.key)
        assert [w.id for w in heartbeat.workers_of(kept)] == [attending.worker.id]
    assert heartbeat.workers_of(store.storage.get_study_user_attrs(store.key)) == []


def test_one_worker_leads_and_another_takes_over_when_it_leaves(tmp_path):
    one, two = join(tmp_path), join(tmp_path)
    with attend(two) as b:
        with attend(one) as a:
            assert a.lead()
            assert not b.lead()
            assert not b.abandoned
        assert not b.abandoned
        assert b.lead()


def test_only_the_leader_reports_to_its_tracker_and_it_reports_all_trials(tmp_path):
    class Slow(Bowl):
        def value(self, run):
            time.sleep(0.02)
            return super().value(run)

    memories, threads = [Memory(), Memory()], []
    for memory in memories:
        words = {"trials": 20, "sampler": "random", "tracker": memory}
        arguments = {"args": (Slow(), tmp_path), "kwargs": words}
        threads.append(threading.Thread(target=search, daemon=True, **arguments))
        threads[-1].start()
        time.sleep(0.1)
    wait_for_threads(*threads)
    leader, other = memories
    assert len({t.index for t in [*leader.earlier, *leader.trials]}) == 20
    assert len(leader.trials) + len(leader.earlier) == 20
    assert [state for _, state in leader.ends] == ["finished"]
    assert other.facts is None


def test_a_second_process_waits_if_each_trial_depends_on_those_before(tmp_path):
    """The sampler's window is 0 for a function: two processes run exactly the trials of one."""
    whole = search(Bowl(), tmp_path / "a", trials=16, sampler="tpe")
    found, threads = [], []
    for _ in range(2):
        words = {"trials": 16, "sampler": "tpe"}
        run = lambda words=words: found.append(search(Bowl(), tmp_path / "b", **words))  # noqa: E731
        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
    wait_for_threads(*threads)
    assert [asked(result) for result in found] == [asked(whole)] * 2


@pytest.mark.slow
def test_a_trial_that_kills_its_process_is_retried_and_then_fails(tmp_path):
    """Such a trial is retried `--max-retries` times."""
    words = [f"{STUDY}:killer", "--no-compare", "--tracking-uri", "none", "--sampler", "random"]
    command = [sys.executable, "-m", "lrsearch", "tune", *words, "--trials", "6", "--quiet"]
    codes = []
    while not codes or codes[-1] != 0:
        words = {"cwd": tmp_path, "capture_output": True, "timeout": 60, "check": False}
        done = subprocess.run([*command, "--max-retries", "2"], **words)
        codes.append(done.returncode)
        assert len(codes) < 12
    result = result_of(tmp_path, "killer-default")
    dead = [t for t in result.trials if t.state == "failed"]
    assert result.counted == 6
    assert {t.retries for t in dead} == {3}
    assert {t.reason for t in dead} == {"its process died 3 times"}
    assert codes == [-signal.SIGKILL] * (3 * len(dead)) + [0]
    assert dead


def test_a_lock_whose_holder_was_killed_is_free_at_once(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from lrsearch.study.locks import FileLock\n"
        "with FileLock(Path(sys.argv[1])): print('held', flush=True); time.sleep(100)"
    )
    path = tmp_path / "x.lock"
    command = [sys.executable, "-c", script, str(path)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert read_line(holder.stdout) == "held\n"
    holder.kill()
    began = time.monotonic()
    with FileLock(path):
        assert time.monotonic() - began < 2
    holder.communicate(timeout=30)


def test_a_lock_that_is_held_for_too_long_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("lrsearch.study.locks.PATIENCE", 0.05)
    path = tmp_path / "x.lock"
    with FileLock(path), pytest.raises(SearchFailed, match=r"held .*x.lock for 0.05 s; find that"):
        FileLock(path).__enter__()
    assert os.path.exists(path)


def test_a_worker_that_was_taken_for_dead_registers_again_under_another_key(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT", 0.02)
    one, two = join(tmp_path), join(tmp_path)
    alive = Liveness.alive
    with attend(one) as a:
        slow = a.worker.id
        monkeypatch.setattr(
            Liveness, "alive", lambda self, worker: worker.id != slow and alive(self, worker)
        )
        with attend(two) as b:  # takes the key of the other worker
            monkeypatch.setattr(Liveness, "alive", alive)
            both = {a.worker.id, b.worker.id}
            wait_until(lambda: b.alive() == both)
        assert a.alive() == {slow}


def test_a_process_of_this_machine_without_heartbeats_is_taken_for_dead(monkeypatch):
    """It may still be alive, such as a notebook that could not unregister its worker."""
    clock, worker, watch = [1000.0], Worker.here(), Liveness()
    monkeypatch.setattr(heartbeat, "_active", {worker.id})
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    assert watch.alive(worker)
    clock[0] += LEASE + 1
    assert not watch.alive(worker)
    assert watch.alive(dataclasses.replace(worker, beat=1))


def test_a_worker_that_could_not_register_does_not_count(tmp_path, monkeypatch):
    store = join(tmp_path)
    attending = attend(store)
    monkeypatch.setattr(attending, "_enlist", lambda: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        attending.__enter__()
    assert attending.worker.id not in heartbeat._active


def test_after_a_restart_of_the_machine_a_study_shows_no_worker_and_can_be_repaired(
    tmp_path, monkeypatch
):
    store = join(tmp_path)
    store.set_slots(1, 0)
    old = attend(store)
    old._enlist()
    path = tmp_path / "x.journal"
    monkeypatch.setattr(heartbeat, "_host", lambda: "another start")
    os.utime(path, (0, 0))
    (standing,) = maintenance.status("s", storage=path)
    assert (standing.trouble, standing.workers) == ("", ())
    path.write_bytes(path.read_bytes().replace(b'"lrsearch.slots"', b'"lrsearch.slotz"'))
    assert maintenance.repair("s", storage=path).damaged == 1


FORKS = """
import os, sys, time
from pathlib import Path
from lrsearch.study.locks import FileLock

with FileLock(Path(sys.argv[1])):
    child = os.fork()
    if not child:
        time.sleep(100)
with FileLock(Path(sys.argv[1])):
    print("free")
os.kill(child, 9)
"""


def test_a_child_that_was_forked_while_a_lock_was_held_does_not_keep_it(tmp_path):
    command = [sys.executable, "-c", FORKS, str(tmp_path / "x.lock")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=25, check=False)
    assert done.stdout == "free\n"


def test_a_comparison_is_not_replaced_by_one_with_fewer_trials(tmp_path):
    search(Bowl(), tmp_path, trials=12, compare=ComparisonSpec(seeds=5, top=1))
    store = Store.read(Location("s", tmp_path / "x.journal"))
    found = store.result().comparison
    assert found is not None
    store.set_comparison(dataclasses.replace(found, runs=1), 8)
    assert Store.read(Location("s", tmp_path / "x.journal")).result().comparison == found
    store.set_comparison(dataclasses.replace(found, runs=1), 12)
    assert Store.read(Location("s", tmp_path / "x.journal")).result().comparison.runs == 1


def test_a_repeated_search_reports_what_its_tracker_has_not_received(tmp_path):
    class Tracked(Memory):
        uri = "sqlite:///m.db"

    first = Tracked()
    search(Bowl(), tmp_path, trials=6, tracker=first)
    again = Tracked()
    search(Bowl(), tmp_path, trials=6, tracker=again)
    assert again.facts is None
    store = Store.read(Location("s", tmp_path / "x.journal"))
    store.keep("lrsearch.told", [4, 0])
    search(Bowl(), tmp_path, trials=6, tracker=again)
    assert [t.index for t in again.earlier] == list(range(6))
    assert [state for _, state in again.ends] == ["finished"]


def test_a_waiting_process_says_which_trial_it_waits_for(tmp_path):
    one = join(tmp_path)
    one.set_slots(1, 0)
    callback = Watch()
    with attend(one) as a:
        first = one.table.join(a)
        assert first.begin(0, {"peak": 0.03, "warmup": 0.05, "floor": 0.0})
        threading.Timer(0.7, first.release).start()
        assert len(search(Bowl(), tmp_path, trials=3, callback=callback).trials) == 3
    what = "trial 0, which another process runs "
    what += "(this study allows 1 runs at the same time; see `parallel=`)"
    assert callback.waits == [what]
