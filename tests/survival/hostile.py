"""Random input from a stranger: journals, rows of a database, spools and pipes of workers.

Each function makes a number of inputs from a seed, lets lrsearch read them, and returns how it
answered. It raises AssertionError if an input causes a raw exception, an unclear message, or
anything that a guard forbids.
"""

import collections
import contextlib
import io
import json
import math
import random
import shutil

import sqlalchemy

import lrsearch
from lrsearch.cli import main
from lrsearch.codec import decode, encode
from lrsearch.errors import SearchFailed
from lrsearch.schedule import Schedule
from lrsearch.study.journal import NOTHING, JournalLine, lines_of
from lrsearch.tracking.spool import Spool
from lrsearch.workers.pool import WorkerPool
from lrsearch.workers.processes import messages
from tests.doubles import Bowl, Given, search
from tests.survival.guard import Guard

STRANGE = [
    *(None, True, False, -1, 0, 7, 2**63, -(10**30), 10**400, 0.5, -0.0, 1e308, 5e-324),
    *(math.nan, math.inf, -math.inf, "", "x", "nan", "1", [], {}, [[]], [None], {"a": {}}),
    *("../../outside", "/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:9/x", "evil.py:f"),
    *("sqlite:////tmp/outside.db", "__import__('os').system('true')", "$(touch outside)", "`id`"),
    *("\x1b[31mred\x1b]0;x\x07", "\x00", "\ud800", "a\nb", "\u202egnp", "<script>", "9" * 400),
    *("x" * 5000, {"op_code": 4}, {"peak": 0.1}, ["peak", 1], "2026-11-28T00:00:00", 1e400),
]
COMMANDS = [
    *("show s", "show s --json", "status", "status --json", "sync s", "ui s"),
    *("export s --to csv", "export s --to json", "export s --to torch", "compare s", "repair s"),
]
CONTROL = {chr(code) for code in range(32)} - {"\n", "\t", "\r"} | {"\x7f", "\x9b"}


def strange(drawn, value):
    """Return a JSON value with something in it that lrsearch would not write."""
    if isinstance(value, dict) and value and drawn.random() < 0.9:
        name = drawn.choice(sorted(value))
        new = {**value, name: strange(drawn, value[name])}
        if drawn.random() < 0.1:
            new[str(drawn.choice(STRANGE))] = drawn.choice(STRANGE)
        return {n: v for n, v in new.items() if drawn.random() < 0.98}
    if isinstance(value, list) and value and drawn.random() < 0.8:
        place = drawn.randrange(len(value))
        return [*value[:place], strange(drawn, value[place]), *value[place + 1 :]]
    return drawn.choice(STRANGE)


def unsealed(content):
    """Return the records of a journal, without their checksums."""
    records = [JournalLine(raw).record() for raw in lines_of(content)]
    for record in records:
        del record["after"]
    return records


def sealed(records):
    """Return a journal of records, with valid checksums."""
    text, last = b"", NOTHING
    for record in records:
        line, last = JournalLine.write(record, last)
        text += line
    return text


def ask(folder, words):
    """Run a command under a guard; return its exit code."""
    out, err = io.StringIO(), io.StringIO()
    with Guard(folder) as guard, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    said = out.getvalue() + err.getvalue()
    assert code in (0, 1, 2, 3), (code, words)  # 3: no trial has finished
    assert "Traceback" not in said, said
    assert not CONTROL & set(said), repr(said)
    assert code == 0 or len(err.getvalue()) < 2000, err.getvalue()
    assert not guard.found, (words, guard.found)
    return code


def study_in(folder):
    """Make a small study, whose parts are the models of hostile ones; return its file."""
    path = folder / "lrsearch-studies" / "s.journal"
    path.parent.mkdir()
    search(Bowl(limit=0.3), path.parent, trials=4, sampler="random")
    (path.parent / "x.journal").rename(path)
    return path


def journals(folder, inputs, seed):
    """Read journals with valid checksums and strange records; the working folder is `folder`."""
    drawn, answers = random.Random(seed), collections.Counter()
    path = study_in(folder)
    records = unsealed(path.read_bytes())
    for _ in range(inputs):
        wrong = list(records)
        for _ in range(drawn.choice([1, 1, 1, 2, 3])):
            place = drawn.randrange(len(wrong))
            changed = strange(drawn, wrong[place])
            wrong[place] = changed if isinstance(changed, dict) else {"x": changed}
        shutil.rmtree(path.parent)
        path.parent.mkdir()
        path.write_bytes(sealed(wrong))
        answers[ask(folder, drawn.choice(COMMANDS).split())] += 1
    return answers


#: Columns of Optuna's and our tables that a stranger may have written, by table.
ROWS = {
    "studies": ["study_name"],
    "study_user_attributes": ["key", "value_json"],
    "study_system_attributes": ["key", "value_json"],
    "study_directions": ["direction"],
    "trials": ["number", "state", "datetime_start", "datetime_complete"],
    "trial_user_attributes": ["key", "value_json"],
    "trial_values": ["value", "value_type"],
    "trial_params": ["param_name", "param_value", "distribution_json"],
    "version_info": ["schema_version", "library_version"],
}


def rows(folder, url, inputs, seed):
    """Read a study in a database of which one cell was changed, and restore the cell."""
    drawn, answers = random.Random(seed), collections.Counter()
    search(Bowl(limit=0.3), None, trials=4, sampler="random", storage=url)
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        cells = [
            (table, column, *row)
            for table, columns in ROWS.items()
            for column in columns
            for row in connection.execute(
                sqlalchemy.text(f"select ctid::text, {column}::text from {table}")
            )
        ]
    for _ in range(inputs):
        table, column, _, old = drawn.choice(cells)
        if column.endswith("_json") and drawn.random() < 0.8:
            new = json.dumps(strange(drawn, json.loads(old)))
        else:
            new = drawn.choice([None, *(str(value) for value in STRANGE)])
        words = [*drawn.choice(COMMANDS[:-1]).split(), "--storage", url]
        if not _change(engine, table, column, old, new):
            answers["refused by the database"] += 1
            continue
        try:
            answers[ask(folder, words)] += 1
        finally:
            _change(engine, table, column, new, old)
    engine.dispose()
    return answers


def _change(engine, table, column, old, new):
    """Change all cells of a column that have a value; return whether the database allows it."""
    same = f"{column}::text is not distinct from :old"
    command = f"update {table} set {column} = (:new)::text::{_kind(engine, table, column)}"
    try:
        with engine.begin() as connection:
            connection.execute(
                sqlalchemy.text(f"{command} where {same}"), {"old": old, "new": new}
            )
    except (sqlalchemy.exc.SQLAlchemyError, ValueError):
        return False
    return True


def _kind(engine, table, column):
    with engine.connect() as connection:
        asked = sqlalchemy.text(
            "select udt_name from information_schema.columns "
            "where table_name = :table and column_name = :column"
        )
        return connection.execute(asked, {"table": table, "column": column}).scalar_one()


def spools(folder, inputs, seed):
    """Read spools of a study; only numbers of its own trials may come out of them."""
    drawn, answers = random.Random(seed), collections.Counter()
    tags = {
        "lrsearch.id": "me",
        "lrsearch.kind": "trial",
        "lrsearch.key": "trial-0001",
        "lrsearch.state": "finished",
    }
    record = {
        "kind": "child",
        "name": "trial-0001",
        "tags": tags,
        "params": {"peak": "0.1"},
        "metrics": [["loss", 0, 1.0], ["loss", 1, 0.5], ["value", 0, 0.25]],
        "began": 1,
        "ended": 2,
        "status": "FINISHED",
    }
    spool = Spool(folder / "s.spool.jsonl")
    for _ in range(inputs):
        wrong = json.dumps(strange(drawn, record)).encode()
        if drawn.random() < 0.2:
            place = drawn.randrange(len(wrong))
            wrong = wrong[:place] + drawn.randbytes(3) + wrong[place + 1 :]
        spool.path.write_bytes(wrong + b"\n")
        with Guard(folder) as guard:
            found = spool.read("me")
        assert not guard.found, guard.found
        for trial in found.values():
            json.dumps([trial.began, trial.ended, trial.metrics], allow_nan=False)
            assert all(type(name) is str and type(t) is int for name, t, _ in trial.metrics)
            assert all(type(value) is float for _, _, value in trial.metrics)
        answers["read" if found else "refused"] += 1
    return answers


class Stranger:
    """A worker whose messages are damaged before they are read."""

    def __init__(self, drawn, inbox, heard):
        self._drawn, self._inbox, self._heard = drawn, inbox, heard
        self.say({"room": 1})

    def say(self, message):
        raw = json.dumps(message).encode() + b"\n"
        if self._drawn.random() < 0.5:
            raw = json.dumps(strange(self._drawn, message)).encode() + b"\n"
        if self._drawn.random() < 0.1:
            place = self._drawn.randrange(len(raw))
            raw = raw[:place] + self._drawn.randbytes(2) + raw[place + 1 :]
        pipe = io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8", errors="replace")
        for heard in messages(pipe):
            self._heard["messages"] += 1
            self._inbox.put((self, heard))

    def give(self, runs):
        for run in runs:
            self.say(encode(decode(lrsearch.Run, run).end("finished", 1.0)))
            self.say({"room": 1})
        if self._drawn.random() < 0.7:
            self._inbox.put((self, None))

    def close(self, *, dying=False):
        return "exit code 9"


def pipes(folder, inputs, seed):
    """Let strangers answer runs until they have sent a number of messages."""
    drawn, heard = random.Random(seed), collections.Counter()
    plan = Schedule(peak=0.1).plan(steps=4, batch=1)
    while heard["messages"] < inputs:
        pool = WorkerPool(
            *("x", Bowl(slots=1), {}),
            lambda order, index, inbox: Stranger(drawn, inbox, heard),
            lambda: None,
            count=1,
            retries=2,
        )
        runs = [lrsearch.Run(trial=i, replicate=0, seed=i, plan=plan) for i in range(3)]
        with Guard(folder) as guard:
            try:
                ended = list(pool.evaluate(Given(*runs, slots=1)))
            except SearchFailed:
                heard["searches that failed"] += 1
                continue
        assert not guard.found, guard.found
        assert sorted(outcome.trial for outcome in ended) == [0, 1, 2]
        json.dumps(encode(ended), allow_nan=False)
        heard["searches that ended"] += 1
    return heard
