"""Write golden studies: one folder per study, with its contents in `expected.json`.

Studies of earlier versions must always open, so a folder is never written again. Run this only
for a new study: `python -m tests.golden.generate_studies NAME`.
"""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import sqlalchemy

import lrsearch
from tests.golden import objectives

#: Optuna's tables, in an order in which their rows can be inserted.
TABLES = (
    "studies",
    "study_directions",
    "study_user_attributes",
    "trials",
    "trial_user_attributes",
    "trial_params",
    "trial_values",
)
FOLDER = Path(__file__).with_name("studies")
#: Number of trials of a golden study, and number after it is continued.
BEGUN, CONTINUED = 10, 20
TODAY = lrsearch.Schedule(peak=0.0625, warmup=0.125, decay="polynomial")

#: Arguments of the search of each study.
STUDIES = {
    "digits": {"objective": "digits", "steps": 40, "slots": 16, "space": "rex"},
    "quadratic": {"objective": "quadratic", "steps": 60, "space": "spline"},
    "mixed": {
        "objective": objectives.mixed,
        "space": "cosine",
        "sampler": "random",
        "seeds": 3,
        "seed": 3,
        "enqueue": [TODAY],
        "trials": 16,
        "max_failures": 1000,
    },
    "seeds": {
        "objective": objectives.plain,
        "space": "cosine",
        "sampler": "qmc",
        "seeds": 3,
        "settings": {"momentum": {"low": 0.5, "high": 0.9}},
    },
    "compared": {"objective": objectives.plain, "space": "cosine", "sampler": "random"},
    "exact": {"objective": "quadratic-additive", "steps": 60, "sampler": "random"},
    "killed": {"objective": objectives.killed, "space": "cosine", "sampler": "gp"},
    "database": {"objective": objectives.plain, "space": "cosine", "sampler": "qmc"},
    "spool": {"objective": objectives.plain, "space": "rex", "sampler": "random"},
}


def described(schedule):
    """Return a schedule with floats in hexadecimal, which is exact."""
    fields = schedule.to_dict(defaults=False).items()
    return {name: v.hex() if isinstance(v, float) else v for name, v in fields}


def trial(found):
    """Return a trial in the form of `expected.json`."""
    return {
        "schedule": described(found.schedule),
        "state": found.state,
        "value": None if found.value is None else found.value.hex(),
        "reason": found.reason,
        "outcomes": [
            {
                "state": o.state,
                "value": None if o.value is None else o.value.hex(),
                "updates": o.updates,
                "figures": {n: float(v).hex() for n, v in sorted(o.figures.items())},
                "curves": {
                    n: [list(t.updates), [float(v).hex() for v in t.values]]
                    for n, t in sorted(o.traces.items())
                },
            }
            for o in found.outcomes
        ],
    }


def search(name, storage, **changes):
    words = {"study": name, "storage": storage, "tracking_uri": "none"}
    return lrsearch.tune(**{"trials": BEGUN, **words, **STUDIES[name], **changes}, compare=False)


def rows(url):
    """Return the rows of a database by table."""
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        found = {}
        for table in TABLES:
            query = sqlalchemy.text(f"SELECT * FROM {table}")
            found[table] = [dict(row) for row in connection.execute(query).mappings()]
    engine.dispose()
    return found


def write(name, server=None):
    folder = FOLDER / name
    folder.mkdir()
    storage = server.fresh(name) if name == "database" else folder / f"{name}.journal"
    if name == "killed":
        command = [sys.executable, "-m", "tests.golden.generate_studies", "--killed"]
        words = {"env": {**os.environ, "GOLDEN_KILL": "1"}, "timeout": 240}
        subprocess.run(command, **words, check=False)
    else:
        dead = {"tracking_uri": "http://127.0.0.1:9"} if name == "spool" else {}
        search(name, storage, **dead)
    expected = {}
    if name in ("compared", "exact"):
        words = {"objective": objectives.plain} if name == "compared" else {}
        found = lrsearch.compare(
            name,
            storage=storage,
            top=2,
            seeds=5,
            against=["cosine", "linear", TODAY],
            tracking_uri="none",
            **words,
        )
        expected["comparison"] = {
            c.name: {
                "schedule": described(c.schedule),
                "values": [None if v is None else v.hex() for v in c.values],
            }
            for c in (found.best, *found.baselines)
        }
        expected["runs"] = found.runs
    kept = lrsearch.load(name, storage=storage)
    expected["trials"] = {str(t.index): trial(t) for t in kept.trials}
    copy = folder / "continued"
    copy.mkdir()
    count = STUDIES[name].get("trials", BEGUN) + CONTINUED - BEGUN
    # An uninterrupted search gives the schedules that a continued search must ask for.
    whole = search(name, copy / f"{name}.journal", trials=count)
    expected["asked"] = {str(t.index): described(t.schedule) for t in whole.trials}
    if name == "database":
        text = json.dumps(rows(storage), indent=1, default=str)
        (folder / "rows.json").write_text(text + "\n", encoding="utf-8")
    for path in sorted(copy.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    copy.rmdir()
    for path in folder.glob("*.lock"):
        path.unlink()
    with contextlib.suppress(FileNotFoundError):
        expected["spooled"] = len((folder / f"{name}.spool.jsonl").read_text().splitlines())
    text = json.dumps(expected, indent=1)
    (folder / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    # Host names and paths of the machine that writes the studies are replaced.
    from lrsearch.objectives import function
    from lrsearch.study import heartbeat

    heartbeat._host = lambda: "golden"
    function.trace_of = lambda error: f"Traceback of {type(error).__name__}\n"
    if sys.argv[1:] == ["--killed"]:
        search("killed", FOLDER / "killed" / "killed.journal")
    else:
        from tests.machines.postgres import PASSWORD, Postgres

        os.environ["PGPASSWORD"] = PASSWORD
        server = Postgres()
        for each in sys.argv[1:] or STUDIES:
            write(each, server)
        server.close()
