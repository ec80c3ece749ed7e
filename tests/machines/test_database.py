"""Studies in a real PostgreSQL: the guarantees of a journal, over connections that are lost."""

import dataclasses
import gc
import json
import re
import signal
import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy

from lrsearch import api, maintenance
from lrsearch.cli import main
from lrsearch.errors import RequestError, SearchFailed
from lrsearch.space import Space
from lrsearch.study import database as module
from lrsearch.study import heartbeat, locks
from lrsearch.study.database import Database
from lrsearch.study.heartbeat import Heartbeat, Worker
from lrsearch.study.location import Location
from lrsearch.study.locks import with_lock
from lrsearch.study.settings import Settings
from lrsearch.study.spec import resolve
from lrsearch.study.store import Store
from tests.doubles import Bowl, launch, read_line, search, wait_for_threads
from tests.machines.postgres import PASSWORD
from tests.survival.swarm import STUDY, check_every_trial_ended_once, essence, nap, swarm

RANDOM = ["--no-compare", "--tracking-uri", "none", "--sampler", "random"]
QUADRATIC = {"trials": 6, "steps": 50, "sampler": "random", "tracking_uri": "none"}


def test_a_study_in_a_database_equals_the_same_study_in_a_journal(database):
    words = {"trials": 12, "steps": 60, "sampler": "tpe", "tracking_uri": "none", "compare": True}
    kept = api.tune("quadratic", storage=database, **words)
    twin = api.tune("quadratic", **words)
    assert essence(kept) == essence(twin)
    again = api.load("quadratic-default", storage=database)
    assert essence(again) == essence(twin)
    assert again.storage == kept.storage == database


@pytest.mark.slow
def test_processes_that_start_together_on_an_empty_database_share_one_study(database, tmp_path):
    how = {"kills": 1, "alive": 6, "between": (0.0, 0.0), "seed": 0, "signal": 0}
    assert swarm(tmp_path, nap(18, *RANDOM, "--storage", database), **how)[1] == 0
    assert check_every_trial_ended_once(tmp_path, "nap-default", 18, database) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "trials", "kills"),
    [(3, 60, 4), (8, 400, 20)],
)
def test_kills_and_a_restart_of_the_server_neither_lose_nor_duplicate_trials(
    postgres, database, tmp_path, processes, trials, kills
):
    def restart():
        postgres.stop()
        time.sleep(1)
        postgres.start()

    words = nap(trials, *RANDOM, "--storage", database)
    how = {"kills": kills, "alive": processes, "between": (0.3, 0.9), "seed": 5}
    # The parent process needs some seconds before its first search.
    restarting = threading.Timer(6.0, restart)
    restarting.daemon = True
    restarting.start()
    found, code = swarm(tmp_path, words, **how)
    wait_for_threads(restarting)
    assert code == 0
    assert found > 0.7 * kills
    check_every_trial_ended_once(tmp_path, "nap-default", trials, database)


class Stopping(Bowl):
    """Stop the server during trial 3, and start it again after some seconds."""

    def __init__(self, postgres, seconds):
        super().__init__()
        self.postgres, self.seconds = postgres, seconds

    def outcome(self, run):
        if run.trial == 3:
            self.postgres.stop()
            threading.Timer(self.seconds, self.postgres.start).start()
        return super().outcome(run)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [4, 60])
def test_an_unreachable_server_is_retried(postgres, database, seconds, caplog):
    kept = in_database(Stopping(postgres, seconds), database, trials=8)
    twin = in_database(Bowl(), postgres.fresh(f"twin{seconds}"), trials=8)
    assert essence(kept) == essence(twin)
    assert sum("does not answer" in r.message for r in caplog.records) == 1
    assert sum("answers again" in r.message for r in caplog.records) == 1


@pytest.mark.slow
def test_a_server_that_stays_unreachable_ends_the_search_and_loses_no_trial(
    postgres, database, monkeypatch
):
    monkeypatch.setattr(module, "PATIENCE", 1.0)
    with pytest.raises(SearchFailed, match=r"has not answered for . s .*; run the same command"):
        in_database(Stopping(postgres, 4), database, trials=8)
    time.sleep(4)
    postgres.wait()
    result = in_database(Bowl(), database, trials=8)
    assert [t.index for t in result.trials] == list(range(8))


def in_database(objective, url, **words):
    return search(objective, None, storage=url, sampler="random", **words)


@pytest.fixture
def store(database):
    bowl = Bowl()
    request = Settings(space=Space.load("cosine"), storage=database, study="s")
    resolved = resolve(request, bowl.setup)
    with Store.join(resolved) as store:
        yield store


def cut(postgres):
    """End every session, as a restart of the server or of a proxy would."""
    postgres.psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )


@pytest.mark.parametrize("when", ["before", "after", "between"])
def test_a_trial_is_started_once_wherever_the_connection_is_cut(
    postgres, store, when, monkeypatch
):
    create, cuts = store.storage._storage.create_new_trial, []

    def cutting(*words):
        if cuts:
            return create(*words)
        cuts.append(1)
        if when == "before":
            cut(postgres)
        made = create(*words)
        if when == "after":
            cut(postgres)
            raise sqlalchemy.exc.OperationalError("INSERT", {}, Exception("connection lost"))
        return made

    monkeypatch.setattr(store.storage._storage, "create_new_trial", cutting)
    with Heartbeat(store.storage, store.key, store.lock, store.clock) as heartbeat:
        running = store.table.join(heartbeat)
        if when == "between":
            cut(postgres)
        assert running.begin(0, {"peak": 0.1, "warmup": 0.0, "floor": 0.0})
        begun = store.storage.get_all_trials(store.key)
        assert [t.state.name for t in begun] == ["RUNNING"]
        assert running._mine == {0: begun[0]._trial_id}
    assert cuts


def test_only_the_session_that_holds_the_lock_writes_under_it(postgres, store):
    """Otherwise two processes could write at the same time, each without the lock of the other."""
    tries = []

    def work():
        tries.append(1)
        if len(tries) == 1:
            cut(postgres)
        store.keep("lrsearch.test", len(tries))
        return "done"

    assert with_lock(store.lock, work) == "done"
    assert len(tries) == 2
    assert store.storage.get_study_user_attrs(store.key)["lrsearch.test"] == 2


def test_a_lost_session_that_is_returned_to_the_pool_logs_no_traceback(postgres, store, caplog):
    handed = store.storage._engine.connect()
    handed.execute(sqlalchemy.text("SELECT 1"))
    cut(postgres)
    del handed  # its rollback fails
    gc.collect()
    assert not caplog.records
    assert store.storage.get_n_trials(store.key) == 0  # in another session


def test_a_lock_excludes_other_processes_until_it_is_released(postgres, store):
    other, order = Store.read(store.location), []

    def wait():
        with other, other.lock:
            order.append("other")

    waiting = threading.Thread(target=wait, daemon=True)
    with store.lock:
        waiting.start()
        time.sleep(0.3)
        order.append("first")
    wait_for_threads(waiting)
    assert order == ["first", "other"]


@pytest.mark.parametrize("state", ["COMPLETE", "FAIL"])
def test_a_write_whose_answer_was_lost_is_not_mistaken_for_another_writer(
    store, state, monkeypatch
):
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState, create_trial

    key = store.storage.create_new_trial(store.key, create_trial(state=TrialState.RUNNING))
    write, lost = store.storage._storage.set_trial_state_values, []

    def losing(*words):
        answer = write(*words)
        if not lost:
            lost.append(1)
            raise sqlalchemy.exc.OperationalError("COMMIT", {}, Exception("connection lost"))
        return answer

    monkeypatch.setattr(store.storage._storage, "set_trial_state_values", losing)
    values = [1.5] if state == "COMPLETE" else None
    assert store.storage.set_trial_state_values(key, TrialState[state], values)
    with pytest.raises(UpdateFinishedTrialError):  # a second writer is refused
        store.storage.set_trial_state_values(key, TrialState.COMPLETE, [2.5])


class Counting(Bowl):
    """Count the sessions of its database."""

    def __init__(self, postgres, name):
        super().__init__()
        self.postgres, self.name, self.sessions = postgres, name, []

    def outcome(self, run):
        asked = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{self.name}'"
        self.sessions.append(int(self.postgres.psql(asked)))
        return super().outcome(run)


def test_a_process_has_one_connection(postgres, database):
    """64 processes can therefore share a server with PostgreSQL's default of 100 connections."""
    counting = Counting(postgres, database.rpartition("/")[2])
    in_database(counting, database, trials=4)
    assert counting.sessions == [1] * 4


def test_a_dead_worker_on_another_machine_is_detected_by_the_servers_clock(store, monkeypatch):
    here, far = heartbeat._host(), "elsewhere"
    monkeypatch.setattr(heartbeat, "_host", lambda: far)
    with Heartbeat(store.storage, store.key, store.lock, store.clock):
        monkeypatch.setattr(heartbeat, "_host", lambda: here)
        assert [
            w.host for w in maintenance.status("s", storage=store.location.url)[0].workers
        ] == [far]
        monkeypatch.setattr(heartbeat, "LEASE", -1.0)
        assert maintenance.status("s", storage=store.location.url)[0].workers == ()


def test_no_lease_runs_out_while_the_server_is_unreachable(monkeypatch):
    clock = dataclasses.make_dataclass("Clock", ["silent"])(0.0)
    now = [1000.0]
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now[0])
    far = dataclasses.replace(Worker.here(), host="elsewhere")
    watch = heartbeat.Liveness(clock)
    assert watch.alive(far)
    now[0] += 600.0
    clock.silent = 590.0
    assert watch.alive(far)
    now[0] += heartbeat.LEASE
    assert not watch.alive(far)


ENCODED = quote(PASSWORD, safe="")


def with_password(url):
    return url.replace("me@", f"me:{ENCODED}@")


def check_no_password(*texts):
    for text in texts:
        assert PASSWORD not in text
        assert ENCODED not in text
        assert "TRACKPW" not in text


@pytest.mark.slow
def test_every_command_reads_a_database_and_none_shows_its_password(database, tmp_path, capsys):
    url = with_password(database)
    shown = database.replace("me@", "me:***@")
    words = ["--storage", url]
    tune = ["tune", "quadratic", "--trials", "6", "--steps", "50", "--sampler", "random"]
    assert main([*tune, "--json", *words]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["storage"] == shown
    check_no_password(captured.out, captured.err)
    for command in (
        ["show", "quadratic-default"],
        ["compare", "quadratic-default", "--seeds", "5"],
        ["status"],
        ["status", "quadratic-default"],
        ["export", "quadratic-default", "--to", "json"],
        ["sync", "quadratic-default"],
        ["doctor", "--tracking-uri", "none"],
        ["tune", "quadratic", "--dry-run"],
    ):
        assert main([*command, *words]) == 0, command
        captured = capsys.readouterr()
        check_no_password(captured.out, captured.err)
    check_no_password((tmp_path / "mlflow.db").read_bytes().decode("latin-1"))
    assert main(["repair", "quadratic-default", *words]) == 2
    assert "is a database, which needs no repair" in capsys.readouterr().err


def test_a_result_can_be_compared_although_its_storage_has_no_password(database):
    result = api.tune("quadratic", storage=with_password(database), **QUADRATIC, compare=False)
    check_no_password(repr(result), repr(Location.of("s", with_password(database))))
    assert api.compare(result, top=2, against=["linear"]).versus


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("me@", "me:wrong@"), "cannot use postgresql://me:...@.*password authentication failed"),
        (("me@", "nobody@"), "cannot use postgresql://nobody@.*check that the server is running"),
        (("/t", "/none"), "cannot use .*does not exist"),
        (("postgresql:", "postgresql+none:"), r"cannot be used \(Can't load plugin"),
        (("postgresql:", "mysql+psycopg:"), "cannot be used"),
        (("127.0.0.1", "127.0.0.1:1,"), "cannot (be used|use)"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_error_line(database, capsys, change, message):
    started = time.monotonic()
    assert main(["tune", "quadratic", "--storage", database.replace(*change)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert re.search(message, captured.err), captured.err
    assert "wrong" not in captured.err
    assert time.monotonic() - started < 30
    assert not Path("lrsearch-studies").exists()


def test_an_empty_database_has_no_study_and_stays_empty(postgres, database, capsys):
    assert main(["show", "x", "--storage", database]) == 2
    assert "there is no study 'x' in postgresql://" in capsys.readouterr().err
    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
    assert postgres.psql(tables, database.rpartition("/")[2]) == "0"


def test_a_study_of_another_space_or_version_is_not_joined(database):
    in_database(Bowl(), database, trials=2)
    with pytest.raises(RequestError, match="version was 1, is now 2"):
        in_database(Bowl(version=2), database, trials=2)
    with pytest.raises(RequestError, match="was created with different settings"):
        in_database(Bowl(), database, trials=2, space=Space.load("spline"))


def test_a_record_that_is_too_long_is_rejected_and_not_retried(store):
    with pytest.raises(SearchFailed, match="rejected a record"):
        store.keep("x" * 600, 1)


@pytest.mark.slow
def test_what_mlflow_missed_is_kept_in_the_default_folder(database, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    words = {**QUADRATIC, "tracking_uri": "http://127.0.0.1:9"}
    api.tune("quadratic", storage=database, **words, compare=False)
    assert (tmp_path / "lrsearch-studies" / "quadratic-default.spool.jsonl").is_file()


def test_a_url_is_shown_without_its_password_wherever_that_is():
    for url, shown in (
        ("postgresql://me:a%3Ab@h/d", "postgresql://me:***@h/d"),
        ("postgresql://h/d?user=me&password=x&a=b", "postgresql://h/d?user=me&password=***&a=b"),
        ("postgresql://me@h/d", "postgresql://me@h/d"),
        ("postgresql://me@tenant:TOP@h/d", "postgresql://me@tenant:***@h/d"),
        ("postgresql://me:SEC@RET@h/d", "postgresql://me:***@h/d"),
        ("mysql+pymysql://h/d?passwd=x", "mysql+pymysql://h/d?passwd=***"),
        ("postgresql://h/d?sslpassword=x", "postgresql://h/d?sslpassword=***"),
    ):
        location = Location.of("s", url)
        assert str(location) == shown
        assert Location.of("s", shown) == location  # this process was given it
    with pytest.raises(RequestError, match="lacks its password"):
        Location.of("s", "postgresql://you:***@h/d")


def test_the_path_of_a_journal_may_have_the_prefix_journal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    location = Location.of("s", "journal:x/s.journal")
    assert location == Location("s", Path("x/s.journal"))
    monkeypatch.chdir("/")  # as user code may
    assert location.runs == tmp_path / "x" / "s.runs"
    assert location.beside(".spool.jsonl") == tmp_path / "x" / "s.spool.jsonl"


def test_a_url_that_lacks_a_slash_is_not_repeated_with_its_password():
    with pytest.raises(RequestError, match="is not a journal file") as caught:
        Location.of("s", "postgresql:/me:SECRET@h/d")
    assert "SECRET" not in str(caught.value)


@pytest.mark.slow
def test_an_interrupted_search_says_how_to_continue_without_passwords(database, tmp_path):
    words = ["tune", f"{STUDY}:nap", "--trials", "500", "--sampler", "random", "--no-compare"]
    words += ["--storage", with_password(database)]
    words += ["--tracking-uri", "http://bob:TRACKPW@127.0.0.1:9"]
    process = launch(*words, folder=tmp_path)
    first = read_line(process.stderr)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "to join from another machine" in first
    assert "continue with the same command: lrsearch tune" in err
    check_no_password(first, out, err)


@pytest.mark.slow
def test_a_signal_ends_a_search_whose_server_is_unreachable(postgres, database, tmp_path):
    words = ["tune", f"{STUDY}:nap", "--trials", "500", *RANDOM, "--storage", database]
    process = launch(*words, folder=tmp_path)
    read_line(process.stderr)
    time.sleep(2)
    postgres.stop()
    try:
        time.sleep(4)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(60) == 143
        assert time.monotonic() - began < 20  # Slurm kills after 30
    finally:
        process.kill()
        process.communicate(timeout=30)
        postgres.start()


def test_an_error_that_repeats_under_the_lock_ends_the_search(postgres, store, monkeypatch):
    name = store.location.url.rpartition("/")[2]
    postgres.psql(
        "CREATE FUNCTION full_() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'no room' "
        "USING ERRCODE = '53100'; END $$ LANGUAGE plpgsql; "
        "CREATE TRIGGER full_ BEFORE INSERT OR UPDATE ON study_user_attributes "
        "FOR EACH ROW EXECUTE FUNCTION full_()",
        name,
    )
    with pytest.raises(SearchFailed, match=r"rejected a record \(no room"):
        store.set_slots(1, 0)
    monkeypatch.setattr(locks, "RETRY", 0.5)
    monkeypatch.setattr(store.storage._dialect, "is_lost", lambda error: True)
    with pytest.raises(SearchFailed, match="the study's lock was lost repeatedly"):
        store.set_slots(1, 0)


@pytest.mark.slow
def test_many_trials_are_read_in_several_queries(postgres, store):
    name = store.location.url.rpartition("/")[2]
    postgres.psql(
        "INSERT INTO trials (number, study_id, state) "
        f"SELECT i, {store.key}, 'FAIL' FROM generate_series(0, 70000) AS i",
        name,
    )
    assert len(store.storage.get_all_trials(store.key)) == 70_001


def test_a_failed_trial_that_was_marked_as_lost_does_not_count(store):
    from lrsearch.outcome import Outcome, Trial
    from lrsearch.schedule import Schedule
    from lrsearch.study.trials import LOST

    with Heartbeat(store.storage, store.key, store.lock, store.clock) as heartbeat:
        running = store.table.join(heartbeat)
        running.begin(0, {"peak": 0.1, "warmup": 0.0, "floor": 0.0})
        store.storage.set_trial_user_attr(running._mine[0], LOST, True)
        outcome = Outcome(trial=0, replicate=0, state="failed", reason="x")
        trial = Trial(index=0, schedule=Schedule(peak=0.1), outcomes=(outcome,))
        assert not running.end(trial, None)


def test_a_driver_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"pip install 'lrsearch\[postgresql\]'"):
        Database(Location.of("s", "postgresql://me@h/d"), create=False)
