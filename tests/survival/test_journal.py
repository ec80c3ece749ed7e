"""Journals damaged by a crash, a disk or another program: they open, or one line says why not."""

import json
import random
import re
import shutil
import stat
import warnings

import pytest

from lrsearch import api, maintenance
from lrsearch.cli import main
from lrsearch.errors import RequestError
from lrsearch.outcome import Trial
from lrsearch.study.journal import JournalLine, lines_of
from tests.doubles import Bowl, asked, search
from tests.survival.swarm import essence


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the journal of a study with finished and diverged trials."""
    folder = tmp_path_factory.mktemp("whole")
    result = search(Bowl(limit=0.1), folder, trials=6, sampler="random")
    assert {t.state for t in result.trials} == {"finished", "diverged"}
    return folder / "x.journal"


def load(path):
    return api.load("s", storage=str(path))


def ended(path):
    """Return the ended trials by index, as JSON."""
    trials, _ = essence(load(path))
    return {index: (schedule, text) for index, schedule, text in trials}


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_a_journal_cut_within_one_of_its_last_records_opens_without_that_record(
    tmp_path, whole, every
):
    content, truth = whole.read_bytes(), ended(whole)
    lines = lines_of(content)
    records = [i for i, line in enumerate(lines) if JournalLine(line).record()["op_code"] == 8]
    for number in records[-3:]:
        begin = sum(map(len, lines[:number]))
        before = None
        for size in range(begin, begin + len(lines[number]) + 1, every):
            path = tmp_path / "x.journal"
            path.write_bytes(content[:size])
            kept = ended(path)
            before = kept if before is None else before
            assert kept == before
            assert kept.items() <= truth.items()
            assert len(kept) >= records.index(number) - 1


def test_a_search_continues_from_a_journal_that_was_cut_anywhere(tmp_path, whole):
    truth = asked(load(whole))
    content = whole.read_bytes()
    for size in random.Random(0).sample(range(1, len(content)), 12):
        path = tmp_path / str(size)
        path.mkdir()
        (path / "x.journal").write_bytes(content[:size])
        assert asked(search(Bowl(limit=0.1), path, trials=6, sampler="random")) == truth


@pytest.mark.parametrize("flips", [50, pytest.param(500, marks=pytest.mark.slow)])
def test_a_flipped_bit_never_changes_a_value(tmp_path, whole, flips):
    content, truth, drawn = whole.read_bytes(), ended(whole), random.Random(1)
    path, opened, refusals = tmp_path / "x.journal", 0, set()
    last = len(content) - len(lines_of(content)[-1])
    anywhere = [drawn.randrange(len(content)) for _ in range(flips)]
    for location in [*anywhere, *(drawn.randrange(last, len(content)) for _ in range(10))]:
        damaged = bytearray(content)
        damaged[location] ^= 1 << drawn.randrange(8)
        path.write_bytes(damaged)
        try:
            kept = ended(path)
        except RequestError as error:
            refusals.add(re.sub(r"\d+", "N", str(error).replace(str(path), "FILE")))
            continue
        opened += 1
        assert kept.items() <= truth.items()
        assert len(kept) >= len(truth) - 1
    assert 10 <= opened < 10 + flips / 10  # only flips in the last record
    assert refusals <= {
        "FILE is damaged at line N: it was changed after it was written; run `lrsearch repair "
        "STUDY --storage FILE`, which keeps the intact records",
        "FILE is not an lrsearch journal; choose another `study=` or `storage=`",
    }


def test_a_line_that_is_missing_or_moved_is_detected(tmp_path, whole):
    lines = lines_of(whole.read_bytes())
    path = tmp_path / "x.journal"
    for wrong in (lines[:7] + lines[8:], [*lines[:7], lines[8], lines[7], *lines[9:]]):
        path.write_bytes(b"".join(wrong))
        with pytest.raises(RequestError, match=r"damaged at line 8.*lrsearch repair STUDY"):
            load(path)


def test_repair_keeps_the_last_outcome_of_a_retried_trial_and_the_mode_of_the_file(tmp_path):
    class Broken(Bowl):
        def outcome(self, run):
            if run.trial == 1:
                return run.end("failed", reason="OSError: no space left")
            return super().outcome(run)

    path = tmp_path / "x.journal"
    search(Broken(), tmp_path, trials=3)
    result = search(Bowl(), tmp_path, trials=4)
    assert result.counts["finished"] == 4
    path.chmod(0o640)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-1], b'{"op_code": 1}\n', lines[-1]]))
    done = maintenance.repair("s", storage=path)
    assert done.damaged
    assert (done.trials, done.lost) == (4, ())
    assert asked(search(Bowl(), tmp_path, trials=4)) == asked(result)
    assert {stat.S_IMODE(file.stat().st_mode) for file in (path, done.aside)} == {0o640}


def test_repair_keeps_intact_records_and_the_search_runs_lost_trials_again(tmp_path, whole):
    truth = asked(load(whole))
    path = tmp_path / "s.journal"
    lines = lines_of(whole.read_bytes())
    records = [i for i, line in enumerate(lines) if JournalLine(line).record()["op_code"] == 8]
    lines[records[2]] = lines[records[2]].replace(b'"updates":', b'"updatez":')
    path.write_bytes(b"".join(lines))
    damaged = path.read_bytes()
    with pytest.raises(RequestError, match="damaged"):
        load(path)
    done = maintenance.repair("s", storage=path)
    assert (done.damaged, done.lines, done.trials, done.lost) == (1, len(lines), 5, (2,))
    assert done.aside.read_bytes() == damaged
    shutil.move(path, tmp_path / "x.journal")
    bowl = Bowl(limit=0.1)
    assert asked(search(bowl, tmp_path, trials=6, sampler="random")) == truth
    assert bowl.yielded == 1


def test_a_journal_has_a_second_copy_of_the_record_of_its_study(tmp_path, whole):
    lines = lines_of(whole.read_bytes())
    path = tmp_path / "s.journal"
    path.write_bytes(b"".join([lines[0], lines[1].replace(b"bowl", b"bawl"), *lines[2:]]))
    assert maintenance.repair("s", storage=path).trials == 6
    assert ended(path) == ended(whole)


def test_repair_after_many_flipped_bits_keeps_only_what_was_written(tmp_path, whole):
    content, truth, drawn = whole.read_bytes(), ended(whole), random.Random(2)
    repaired, refusals = 0, set()
    for number in range(40):
        damaged = bytearray(content)
        for location in drawn.sample(range(len(damaged)), 4):
            damaged[location] ^= 1 << drawn.randrange(8)
        path = tmp_path / str(number) / "s.journal"
        path.parent.mkdir()
        path.write_bytes(damaged)
        try:
            maintenance.repair("s", storage=path)
        except RequestError as error:
            refusals.add(str(error).replace(str(path), "FILE"))
            assert path.read_bytes() == damaged
            continue
        repaired += 1
        assert ended(path).items() <= truth.items()
    assert repaired > 20
    assert refusals <= {
        "FILE has no intact record of study s, so its trials cannot be recovered; the file is "
        "unchanged and has records of no study; choose another `study=`"
    }


def test_repair_does_not_change_an_intact_journal(tmp_path, whole, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lrsearch-studies").mkdir()
    path = tmp_path / "lrsearch-studies" / "s.journal"
    shutil.copy(whole, path)
    assert main(["repair", "s"]) == 0
    assert "s is intact" in capsys.readouterr().out
    assert path.read_bytes() == whole.read_bytes()
    assert main(["repair", "nowhere"]) == 2
    assert "there is no" in capsys.readouterr().err


def test_optuna_itself_can_read_a_journal(whole):
    import optuna

    backend = optuna.storages.journal.JournalFileBackend(str(whole))
    storage = optuna.storages.journal.JournalStorage(backend)
    study = optuna.load_study(study_name="s", storage=storage)
    by_index = {t.user_attrs["lrsearch"]["index"]: t for t in study.trials}
    for trial in load(whole).trials:
        assert isinstance(trial, Trial)
        assert trial.value is None or by_index[trial.index].value == trial.value


def test_every_line_of_a_journal_is_plain_json(whole):
    for line in whole.read_text().splitlines():
        assert json.loads(line)["op_code"] in (0, 2, 4, 6, 8)


def test_a_journal_of_another_program_is_refused(tmp_path, whole):
    """For example one that Optuna's own backend wrote, whose lines have no checksums."""
    import optuna

    path = tmp_path / "x.journal"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        backend = optuna.storages.journal.JournalFileBackend(str(path))
        storage = optuna.storages.journal.JournalStorage(backend)
    study = optuna.create_study(study_name="s", storage=storage)
    study.set_user_attr("a", 1)
    study.set_user_attr("b", 2)
    before = path.read_bytes()
    for attempt in (load, lambda path: search(Bowl(), tmp_path, trials=2)):
        with pytest.raises(RequestError, match="was not written by this version of lrsearch"):
            attempt(path)
    sound = lines_of(whole.read_bytes())
    path.write_bytes(b"".join(sound) + before)
    with pytest.raises(RequestError, match=f"damaged at line {len(sound) + 1}"):
        load(path)
