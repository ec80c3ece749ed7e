"""A study in its storage: what it is, its trials and its comparison.

Every process that searches a study joins it: what they share they change under one guard, and what
a dead one was at is given back (`lrsearch.study.attempts`).
"""

from __future__ import annotations

import dataclasses
import math
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from optuna.study import StudyDirection

from lrsearch.comparison import Comparison
from lrsearch.contract import Setup, StudyFacts
from lrsearch.distributions import digest
from lrsearch.errors import RequestError, closest
from lrsearch.result import Outcome, Result, Trial
from lrsearch.schedule import Schedule
from lrsearch.study.backend import Backend, OpenBackend, begin, has, look_up, names_of
from lrsearch.study.location import SAFE_NAME, Location
from lrsearch.study.locks import with_lock
from lrsearch.study.record import SCHEMA, StudyRecord, study_facts
from lrsearch.study.shape import COMPARISON_SHAPE, OUTCOME, conform
from lrsearch.study.trials import TrialTable, reading

__all__ = ["ATTRIBUTE", "MINIMIZE", "Store"]

#: The attributes of a study that lrsearch keeps.
ATTRIBUTE = "lrsearch"
OPTIMUM = "lrsearch.optimum"
TRACKING = "lrsearch.tracking"
SLOTS = "lrsearch.slots"
QUEUE = "lrsearch.enqueued"
MEASURED = "lrsearch.measured"
COMPARISON = "lrsearch.confirmed"
FACTS = "lrsearch.facts"
TOLD = "lrsearch.told"

SHAPES = {
    OPTIMUM: float,
    TRACKING: [(None, str)],
    SLOTS: [int],
    QUEUE: [{str: object}],
    TOLD: [int],
    COMPARISON: {"trials": int, "confirmation": COMPARISON_SHAPE},
    FACTS: {"device": str, "data": {str: object}, "sampler": str, "diagnostics": str},
}

#: Lower is better.
MINIMIZE = [StudyDirection.MINIMIZE]


class Store:
    """The trials of one study in its storage.

    Attributes:
        name: of the study.
        location: where it lives.
        record: what the study is.
        identity: tells it from another study of the same name, for trackers.
        optimum: the best possible value of the problem, where it is known.
        slots: runs in flight, once the study has begun.
        enqueued: schedules that were given to try before all others.
        window: W; trial n is sampled from the outcomes of trials 0 … n-1-W.
        tracking: MLflow's URI without its password, and the parent run's id, where there are.
    """

    def __init__(self, location: Location, kept: OpenBackend) -> None:
        self.name = location.study
        self.location = location
        self.storage, self.lock, self.clock = kept.records, kept.lock, kept.clock
        self.close = kept.close
        self.key = self.storage.get_study_id_from_name(self.name)
        self.table = TrialTable(self.storage, self.key, location)
        self.look()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def look(self) -> None:
        """Takes in what others wrote about the study.

        Raises:
            RequestError: it was not written by this version of lrsearch.
        """
        kept = self.storage.get_study_user_attrs(self.key)
        directions = self.storage.get_study_directions(self.key)
        record = kept.get(ATTRIBUTE)
        with reading(self.location):
            if not isinstance(record, dict) or record.get("schema") != SCHEMA:
                raise RequestError("it is not of this version; name another study")
            if directions != MINIMIZE:
                raise RequestError("its direction is not minimize; name another study")
            self.record = StudyRecord.from_dict(record)
            for name, shape in SHAPES.items():
                conform(kept.get(name), (None, shape), name)
            self.optimum: float | None = kept.get(OPTIMUM)
            self.slots: int | None
            self.window: int
            self.slots, self.window = kept.get(SLOTS) or (None, 0)
            self.enqueued = tuple(Schedule.from_dict(s) for s in kept.get(QUEUE) or ())
            self.identity = str(record["id"])
            uri, run_id = kept.get(TRACKING) or (None, None)
            self.tracking: tuple[str | None, str | None] = (uri, run_id)
            self._comparison: tuple[int, Comparison] | None = None
            if (known := kept.get(COMPARISON)) is not None:
                comparison = Comparison.from_record(known["confirmation"])
                self._comparison = (known["trials"], comparison)
            self._facts: dict[str, Any] = kept.get(FACTS) or {}
            self._told: list[int] = kept.get(TOLD) or []

    @classmethod
    def join(cls, location: Location, record: StudyRecord) -> Store:
        """Opens a study to search it, creating it where there is none.

        Raises:
            RequestError: it belongs to another request, or cannot be written or read.
        """
        try:
            kept = begin(location)
            with_lock(kept.lock, lambda: _found(kept.records, location.study, record))
            store = cls(location, kept)
        except OSError as error:
            raise RequestError(
                f"cannot write {(location.path or location.runs).parent}: {error.strerror}; "
                "choose another --storage"
            ) from error
        differences = store.record.differences(record)
        if differences:
            store.close()
            raise RequestError(
                f"study {location.study} is of another request ({'; '.join(differences)}); name "
                "another with --study, or ask as before"
            )
        return store

    @classmethod
    def read(cls, location: Location) -> Store:
        """Opens a study to look at it.

        Raises:
            RequestError: there is no such study.
        """
        kept = look_up(location)
        if not has(kept.records, location.study):
            known = names_of(kept.records)
            kept.close()
            raise RequestError(
                f"{location} holds no study {location.study!r}{closest(location.study, known)}"
            )
        return cls(location, kept)

    @staticmethod
    def names(location: Location) -> list[str]:
        """The studies in a storage, by name.

        Raises:
            RequestError: it is none, or damaged.
        """
        with closing(look_up(location)) as kept:
            return [name for name in names_of(kept.records) if SAFE_NAME.fullmatch(name)]

    def trials(self) -> dict[int, Trial]:
        """The ended trials by lrsearch's index."""
        self.table.refresh()
        return self.table.trials

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
            storage=str(self.location),
            tracking_uri=self.tracking[0],
            run_id=self.tracking[1],
            trials=tuple(known[i] for i in sorted(known)),
            optimum=self.optimum,
            enqueued=len(self.enqueued),
            comparison=self.comparison(len(known)),
        )

    def facts(self, trials: int) -> StudyFacts:
        """What a tracker is told of a study of so many trials."""
        facts = study_facts(
            self.record,
            study=self.name,
            identity=self.identity,
            storage=str(self.location),
            spool=self.location.beside(".spool.jsonl"),
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
            self.keep(FACTS, told)

    def keep(self, name: str, value: Any) -> None:
        """Writes an attribute of the study."""
        self.storage.set_study_user_attr(self.key, name, value)

    def enqueue(self, schedules: Sequence[Schedule]) -> None:
        """Keeps what is tried first; a study that has begun keeps its own.

        Raises:
            RequestError: the study began with others.
        """
        given = tuple(schedules)

        def keep() -> None:
            self.look()
            if self.slots is None and given and given != self.enqueued:
                self.enqueued = given
                self.keep(QUEUE, [s.to_dict(defaults=False) for s in given])

        with_lock(self.lock, keep)
        if given and given != self.enqueued:
            raise RequestError(
                f"study {self.name} began with {len(self.enqueued) or 'no'} enqueued schedules, "
                "and not with these; leave them out, or name another with --study"
            )

    def measured(self, stage: str) -> dict[Schedule, dict[int, Outcome]]:
        """Outcomes of a comparison's runs by schedule and seed.

        Args:
            stage: `select` or `report`.
        """
        found = {}
        with reading(self.location):
            for name, kept in self.storage.get_study_user_attrs(self.key).items():
                if name.startswith(f"{MEASURED}.{stage}."):
                    conform(kept, {"schedule": {str: object}, "outcomes": [OUTCOME]}, name)
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
        self.keep(f"{MEASURED}.{stage}.{digest(schedule)}", kept)

    def comparison(self, trials: int) -> Comparison | None:
        """The latest comparison, unless the study has other than so many trials by now."""
        if self._comparison is None or self._comparison[0] != trials:
            return None
        return self._comparison[1]

    def set_comparison(self, comparison: Comparison, trials: int) -> None:
        """Keeps a comparison of so many trials, unless there is one of more."""
        self.look()
        if self._comparison is not None and self._comparison[0] > trials:
            return
        self._comparison = (trials, comparison)
        self.keep(COMPARISON, {"trials": trials, "confirmation": comparison.to_record()})

    def set_slots(self, slots: int, window: int) -> None:
        """Keeps how many runs are in flight and how far trials look back, the first time."""

        def keep() -> None:
            self.look()
            if self.slots is None:
                self.slots, self.window = slots, window
                self.keep(SLOTS, [slots, window])
                # Once more: without it a damaged journal could not be repaired.
                kept = self.storage.get_study_user_attrs(self.key)
                self.keep(ATTRIBUTE, kept[ATTRIBUTE])

        with_lock(self.lock, keep)

    def set_tracking(self, uri: str | None, run_id: str | None) -> None:
        """Keeps where people look."""
        if uri is not None and (uri, run_id) != self.tracking:
            self.tracking = (uri, run_id)
            self.keep(TRACKING, [uri, run_id])

    def is_told(self, result: Result) -> bool:
        """Whether the study's tracker, if it has one, was told all of a result."""
        return self.tracking[0] is None or self._told == _told(result)

    def set_told(self, result: Result) -> None:
        """Keeps that the tracker was told all of a result."""
        if self._told != _told(result):
            self._told = _told(result)
            self.keep(TOLD, self._told)

    def set_optimum(self, optimum: float) -> None:
        """Keeps the best possible value for readers."""
        self.optimum = optimum
        self.keep(OPTIMUM, optimum)


def _found(storage: Backend, name: str, record: StudyRecord) -> None:
    """Makes a study that there is not yet, or finishes what a process began that died at it."""
    if not has(storage, name):
        storage.create_new_study(MINIMIZE, name)
    key = storage.get_study_id_from_name(name)
    if ATTRIBUTE in storage.get_study_user_attrs(key) or storage.get_n_trials(key):
        return
    identity = {"name": name, "id": uuid.uuid4().hex}
    storage.set_study_user_attr(key, ATTRIBUTE, {**identity, **record.to_dict()})


def _told(result: Result) -> list[int]:
    """How many trials a tracker knows, and of how many runs a comparison."""
    return [len(result.trials), 0 if result.comparison is None else result.comparison.runs]
