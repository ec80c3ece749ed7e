"""Where a study lives: in an Optuna journal, one record a trial, written when the trial ends.

A trial that is lost leaves no trace and is asked for again, so no storage ever holds a trial that
runs for ever. One search at a time holds a study.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages.journal import JournalStorage
from optuna.trial import TrialState, create_trial

from lrsearch.confirmation import Confirmation
from lrsearch.contract import Setup, StudyFacts
from lrsearch.engine.journal import check_journal, cut_torn_line, open_journal
from lrsearch.engine.record import SCHEMA, StudyRecord, study_facts
from lrsearch.engine.request import FOLDER
from lrsearch.errors import RequestError, closest
from lrsearch.ranges import Choices
from lrsearch.result import Outcome, Result, Trial
from lrsearch.schedule import FIELDS, Schedule
from lrsearch.space import Space

__all__ = ["Store", "digest", "distributions"]

#: The user attributes that lrsearch keeps: one a study, one a trial.
ATTRIBUTE = "lrsearch"
OPTIMUM = "lrsearch.optimum"
IDENTITY = "lrsearch.id"
TRACKING = "lrsearch.tracking"
SLOTS = "lrsearch.slots"
QUEUE = "lrsearch.enqueued"
MEASURED = "lrsearch.measured"
CONFIRMED = "lrsearch.confirmed"
FACTS = "lrsearch.facts"
STATES = {
    "finished": TrialState.COMPLETE,
    "diverged": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}

optuna.logging.set_verbosity(optuna.logging.WARNING)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """A space in Optuna's words."""
    made: dict[str, BaseDistribution] = {}
    for name, entry in space.free.items():
        if isinstance(entry, Choices):
            made[name] = CategoricalDistribution(entry.values)
        elif FIELDS[name].kind == "int":
            step = 1 if entry.step is None else int(entry.step)
            made[name] = IntDistribution(int(entry.low), int(entry.high), entry.log, step)
        else:
            made[name] = FloatDistribution(entry.low, entry.high, entry.log, entry.step)
    return made


def digest(schedule: Schedule) -> str:
    """A short name of a schedule, for files and keys."""
    return hashlib.sha256(repr(schedule).encode()).hexdigest()[:16]


class Store:
    """The trials of one study in its journal file.

    Attributes:
        name: of the study.
        path: of the journal file.
        record: what the study is.
        identity: tells it from another study of the same name, for trackers.
        optimum: the best possible value of the problem, where it is known.
        slots: runs in flight, once the study has begun.
        enqueued: schedules that were given to try before all others.
        window: W; trial n is sampled from the outcomes of trials 0 … n-1-W.
        tracking: MLflow's URI without its password, and the parent run's id, where there are.
    """

    def __init__(self, name: str, path: Path, study: optuna.Study, record: StudyRecord) -> None:
        self.name = name
        self.path = path
        self.record = record
        kept = study.user_attrs  # Optuna copies all of them at every look
        self.optimum: float | None = kept.get(OPTIMUM)
        self.slots: int | None
        self.window: int
        self.slots, self.window = kept.get(SLOTS, (None, 0))
        self.enqueued = tuple(Schedule.from_dict(s) for s in kept.get(QUEUE, ()))
        self.identity: str = kept[IDENTITY]
        uri, run_id = kept.get(TRACKING, (None, None))
        self.tracking: tuple[str | None, str | None] = (uri, run_id)
        self._confirmed: dict[str, Any] | None = kept.get(CONFIRMED)
        self._facts: dict[str, Any] = kept.get(FACTS, {})
        self._study = study

    @classmethod
    @contextlib.contextmanager
    def hold(cls, name: str, path: Path, record: StudyRecord) -> Iterator[Store]:
        """Opens a study for a search, creating it where there is none.

        Raises:
            RequestError: another search holds it, it belongs to another request, or the file
                cannot be written or read.
        """
        check_journal(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            guard = path.with_suffix(".lock").open("a")
        except OSError as error:
            raise RequestError(
                f"cannot write {path.parent}: {error.strerror}; choose another --storage"
            ) from error
        with guard:
            try:
                fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RequestError(
                    f"another process is searching study {name}; wait for it, or name another "
                    "with --study"
                ) from None
            cut_torn_line(path)
            storage = open_journal(path)
            if name in _names(storage):
                store = cls._load(name, path, storage)
                differences = store.record.differences(record)
                if differences:
                    raise RequestError(
                        f"study {name} is of another request ({'; '.join(differences)}); "
                        "name another with --study"
                    )
            else:
                study = optuna.create_study(study_name=name, storage=storage)
                study.set_user_attr(IDENTITY, uuid.uuid4().hex)
                study.set_user_attr(ATTRIBUTE, record.to_dict())
                store = cls(name, path, study, record)
            yield store

    @classmethod
    def read(cls, name: str, path: Path) -> Store:
        """Opens a study to look at it.

        Raises:
            RequestError: there is no such study.
        """
        if not path.is_file():
            others = [p.stem for p in Path(FOLDER).glob("*.journal")]
            hint = closest(name, others) if others else "; `lrsearch tune` makes one"
            raise RequestError(f"there is no study {name!r} at {path}{hint}")
        check_journal(path)
        return cls._load(name, path, open_journal(path))

    @classmethod
    def _load(cls, name: str, path: Path, storage: JournalStorage) -> Store:
        if name not in _names(storage):
            raise RequestError(f"{path} holds no study {name!r}{closest(name, _names(storage))}")
        study = optuna.load_study(study_name=name, storage=storage)
        record = study.user_attrs.get(ATTRIBUTE)
        if record is None or record["schema"] != SCHEMA:
            raise RequestError(
                f"{path} was not written by this version of lrsearch; name another study"
            )
        return cls(name, path, study, StudyRecord.from_dict(record))

    def trials(self) -> dict[int, Trial]:
        """The ended trials by lrsearch's index."""
        found = {}
        for frozen in self._study.get_trials(deepcopy=False):
            kept = frozen.user_attrs.get(ATTRIBUTE)
            if kept is not None:
                outcomes = tuple(Outcome.from_dict(o) for o in kept["outcomes"])
                schedule = Schedule.from_dict(kept["schedule"])
                found[kept["index"]] = Trial(
                    index=kept["index"], schedule=schedule, outcomes=outcomes
                )
        return dict(sorted(found.items()))

    def result(
        self,
        trials: Mapping[int, Trial] | None = None,
        *,
        seconds: float | None = None,
    ) -> Result:
        """What the study found.

        Args:
            trials: those that are known already; None reads them.
            seconds: of the search in hand; None is those of all runs.
        """
        record, known = self.record, self.trials() if trials is None else trials
        return Result(
            study=self.name,
            objective=record.objective,
            space=record.space.name,
            unit=record.unit,
            steps=record.steps,
            batch=record.batch,
            momentum=record.momentum,
            seconds=math.fsum(t.seconds for t in known.values()) if seconds is None else seconds,
            storage=str(self.path),
            tracking_uri=self.tracking[0],
            run_id=self.tracking[1],
            trials=tuple(known[i] for i in sorted(known)),
            optimum=self.optimum,
            enqueued=len(self.enqueued),
            confirmed=self.confirmed(len(known)),
        )

    def facts(self, trials: int) -> StudyFacts:
        """What a tracker is told of a study of so many trials."""
        facts = study_facts(
            self.record,
            study=self.name,
            identity=self.identity,
            storage=str(self.path),
            trials=trials,
            slots=self.slots or 1,
        )
        return dataclasses.replace(facts, **self._facts)

    def keep_facts(self, setup: Setup, *, sampler: str, diagnostics: str) -> None:
        """Keeps what trackers are told and values do not hang on."""
        told = {"device": setup.device, "data": dict(setup.data)}
        told |= {"sampler": sampler, "diagnostics": diagnostics}
        if told != self._facts:
            self._facts = told
            self._study.set_user_attr(FACTS, told)

    def add(self, trial: Trial, point: Mapping[str, Any], penalty: float | None) -> None:
        """Writes a trial that has ended.

        Args:
            trial: the trial.
            point: its values of the free fields; empty for a schedule outside the space.
            penalty: the finite value that stands for a diverged trial, or None.
        """
        state, value = STATES[trial.state], trial.value
        searched = distributions(self.record.space)
        if trial.state == "diverged":
            state, value = (TrialState.FAIL if penalty is None else state), penalty
        kept = {
            "index": trial.index,
            "state": trial.state,
            "schedule": trial.schedule.to_dict(defaults=False),
            "outcomes": [outcome.to_dict() for outcome in trial.outcomes],
        }
        self._study.add_trial(
            create_trial(
                state=state,
                value=value,
                params=dict(point),
                distributions={n: d for n, d in searched.items() if n in point},
                user_attrs={ATTRIBUTE: kept},
            )
        )

    def enqueue(self, schedules: Sequence[Schedule]) -> None:
        """Keeps what is tried first; a study that has begun keeps its own.

        Raises:
            RequestError: the study began with others.
        """
        given = tuple(schedules)
        if self.slots is None and given != self.enqueued:
            self.enqueued = given
            self._study.set_user_attr(QUEUE, [s.to_dict(defaults=False) for s in given])
        elif given and given != self.enqueued:
            raise RequestError(
                f"study {self.name} began with {len(self.enqueued) or 'no'} enqueued schedules, "
                "and not with these; leave them out, or name another with --study"
            )

    def measured(self, stage: str) -> dict[Schedule, dict[int, Outcome]]:
        """Outcomes of a confirmation's runs by schedule and seed.

        Args:
            stage: `select` or `report`.
        """
        found = {}
        for name, kept in self._study.user_attrs.items():
            if name.startswith(f"{MEASURED}.{stage}."):
                outcomes = {o["replicate"]: Outcome.from_dict(o) for o in kept["outcomes"]}
                found[Schedule.from_dict(kept["schedule"])] = outcomes
        return found

    def keep_measured(
        self, stage: str, schedule: Schedule, outcomes: Mapping[int, Outcome]
    ) -> None:
        """Keeps the outcomes of a schedule on all its seeds."""
        kept = {
            "schedule": schedule.to_dict(defaults=False),
            "outcomes": [outcomes[replicate].to_dict() for replicate in sorted(outcomes)],
        }
        self._study.set_user_attr(f"{MEASURED}.{stage}.{digest(schedule)}", kept)

    def confirmed(self, trials: int) -> Confirmation | None:
        """The latest confirmation, unless the study has other than so many trials by now."""
        if self._confirmed is None or self._confirmed["trials"] != trials:
            return None
        return Confirmation.from_record(self._confirmed["confirmation"])

    def set_confirmed(self, confirmation: Confirmation, trials: int) -> None:
        """Keeps a confirmation of so many trials."""
        self._confirmed = {"trials": trials, "confirmation": confirmation.to_record()}
        self._study.set_user_attr(CONFIRMED, self._confirmed)

    def set_slots(self, slots: int, window: int) -> None:
        """Keeps how many runs are in flight and how far trials look back."""
        self.slots, self.window = slots, window
        self._study.set_user_attr(SLOTS, [slots, window])

    def set_tracking(self, uri: str | None, run_id: str | None) -> None:
        """Keeps where people look."""
        if uri is not None and (uri, run_id) != self.tracking:
            self.tracking = (uri, run_id)
            self._study.set_user_attr(TRACKING, [uri, run_id])

    def set_optimum(self, optimum: float) -> None:
        """Keeps the best possible value for readers."""
        self.optimum = optimum
        self._study.set_user_attr(OPTIMUM, optimum)


def _names(storage: JournalStorage) -> list[str]:
    return [study.study_name for study in storage.get_all_studies()]
