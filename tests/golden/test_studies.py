"""Studies of earlier versions open with the same numbers and continue with the same schedules."""

import json
import shutil

import pytest
import sqlalchemy

import lrsearch
from lrsearch.errors import RequestError
from lrsearch.study import heartbeat, spec
from tests.golden import objectives
from tests.golden.generate_studies import (
    BEGUN,
    CONTINUED,
    FOLDER,
    STUDIES,
    TABLES,
    TODAY,
    described,
    search,
    trial,
)

JOURNALS = sorted(set(STUDIES) - {"database"})
#: Studies of the first Gaussian process, which was Optuna's.
MODELLED = ("digits", "killed", "quadratic")


@pytest.fixture
def golden(tmp_path, monkeypatch):
    """Return a function that copies a study and returns its storage and expected contents."""
    # The host name in the studies, so that the process that died there is known to be dead.
    monkeypatch.setattr(heartbeat, "_host", lambda: "golden")

    def copy(name):
        for path in (FOLDER / name).iterdir():
            shutil.copy(path, tmp_path)
        expected = json.loads((tmp_path / "expected.json").read_text(encoding="utf-8"))
        return tmp_path / f"{name}.journal", expected

    return copy


@pytest.fixture
def first_rules(monkeypatch):
    """Let studies continue that were searched with version 1 of the divergence rule.

    What their samplers ask depends on versions of the samplers, which have not changed.
    """
    monkeypatch.setattr(spec, "DIVERGENCE_VERSION", 1)


def seen(result):
    return {str(t.index): trial(t) for t in result.trials}


def filled(schedule, name):
    """Add the objective's momentum to a stored schedule, as is now done when it is enqueued."""
    words = {"momentum": (0.9).hex()} if name == "mixed" else {}
    return {**words, **schedule}


def trials_of(expected, name):
    return {
        index: {**kept, "schedule": filled(kept["schedule"], name)}
        for index, kept in expected["trials"].items()
    }


@pytest.mark.parametrize("name", JOURNALS)
def test_an_earlier_study_opens_with_identical_numbers(name, golden):
    storage, expected = golden(name)
    assert seen(lrsearch.load(name, storage=storage)) == trials_of(expected, name)


@pytest.mark.parametrize("name", JOURNALS)
def test_an_earlier_study_is_not_continued_with_another_divergence_rule(name, golden):
    storage, expected = golden(name)
    before = storage.read_bytes()
    with pytest.raises(RequestError, match="version 1 of the divergence rule, but this lrsearch"):
        search(name, storage, trials=CONTINUED)
    assert storage.read_bytes() == before
    assert seen(lrsearch.load(name, storage=storage)) == trials_of(expected, name)


@pytest.mark.usefixtures("first_rules")
@pytest.mark.parametrize("name", sorted(set(JOURNALS) - set(MODELLED)))
def test_an_earlier_study_continues_with_the_recorded_schedules(name, golden):
    storage, expected = golden(name)
    count = len(expected["asked"])
    failed = [t["state"] for t in expected["trials"].values()].count("failed")
    result = search(name, storage, trials=count - failed)
    assert len(result.trials) == count > BEGUN
    asked = {index: filled(schedule, name) for index, schedule in expected["asked"].items()}
    assert {str(t.index): described(t.schedule) for t in result.trials} == asked


@pytest.mark.usefixtures("first_rules")
@pytest.mark.parametrize("name", MODELLED)
def test_an_earlier_study_of_another_sampler_is_shown_but_not_continued(name, golden):
    storage, expected = golden(name)
    before = storage.read_bytes()
    with pytest.raises(RequestError, match=r"version 1 of the sampler (auto|gp) rule, but"):
        search(name, storage, trials=CONTINUED)
    assert storage.read_bytes() == before
    assert seen(lrsearch.load(name, storage=storage)) == trials_of(expected, name)


@pytest.mark.parametrize("name", ["compared", "exact"])
def test_an_earlier_comparison_opens_with_identical_numbers(name, golden, monkeypatch):
    storage, expected = golden(name)

    def again(found):
        return {
            c.name: {
                "schedule": described(c.schedule),
                "values": [None if v is None else v.hex() for v in c.values],
            }
            for c in (found.best, *found.baselines)
        }

    kept = lrsearch.load(name, storage=storage).comparison
    assert again(kept) == expected["comparison"]
    assert kept.runs == expected["runs"]
    assert kept.looks.seeds == 0  # one look at all seeds
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
    if name == "compared":  # peaks are now tuned further, which makes it another comparison
        assert (found.looks.seeds, found.looks.spent) == (5, 1)
        return
    for own, earlier in zip(found.contenders.values(), kept.contenders.values(), strict=True):
        assert own.value < earlier.value


def test_the_spool_of_an_earlier_version_is_uploaded_to_mlflow(golden, tmp_path, monkeypatch):
    from mlflow.tracking import MlflowClient

    from lrsearch import publishing

    storage, expected = golden("spool")
    spool = tmp_path / "spool.spool.jsonl"
    lines = [json.loads(line) for line in spool.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == expected["spooled"] == BEGUN
    # A number that is only in the spool shows that the spool was read.
    lines[0]["metrics"].append(["only_in_the_spool", 0, 0.5])
    spool.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    uri, run_id = publishing.sync("spool", storage=storage, tracking_uri="sqlite:///mlflow.db")
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_run(run_id).info.experiment_id
    runs = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")
    assert len(runs) == BEGUN
    assert [r.data.metrics.get("only_in_the_spool") for r in runs].count(0.5) == 1
    values = {int(r.data.tags["lrsearch.trial"]): r.data.metrics.get("value") for r in runs}
    for index, known in expected["trials"].items():
        value = None if known["value"] is None else float.fromhex(known["value"])
        assert values[int(index)] == value
    assert not spool.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("first_rules")
def test_an_earlier_database_opens_with_identical_numbers_and_continues(database):
    expected = json.loads((FOLDER / "database" / "expected.json").read_text(encoding="utf-8"))
    rows = json.loads((FOLDER / "database" / "rows.json").read_text(encoding="utf-8"))
    search("database", database, trials=1, study="another")  # creates Optuna's tables
    engine = sqlalchemy.create_engine(database.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        for table in reversed(TABLES):
            connection.execute(sqlalchemy.text(f"DELETE FROM {table}"))
        for table in TABLES:
            for row in rows[table]:
                names = ", ".join(row)
                places = ", ".join(f":{name}" for name in row)
                query = f"INSERT INTO {table} ({names}) VALUES ({places})"
                connection.execute(sqlalchemy.text(query), row)
            key = next(iter(rows[table][0]))
            reset = f"SELECT setval(pg_get_serial_sequence('{table}', '{key}'), 1000)"
            connection.execute(sqlalchemy.text(reset))
    engine.dispose()
    assert seen(lrsearch.load("database", storage=database)) == expected["trials"]
    result = search("database", database, trials=CONTINUED)
    assert {str(t.index): described(t.schedule) for t in result.trials} == expected["asked"]
