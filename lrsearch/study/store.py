"""A study in its storage: its specification, its trials and its comparison.

Every process that searches a study joins it. Processes change shared state under one lock, and the
trials of a dead process are run again (`lrsearch.study.trials`).
"""

from __future__ import annotations

import dataclasses
import math
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from optuna.study import StudyDirection

from lrsearch.codec import decode, encode
from lrsearch.comparison import Comparison
from lrsearch.distributions import digest
from lrsearch.errors import RequestError, closest, one_line
from lrsearch.outcome import Outcome, Trial
from lrsearch.result import Result
from lrsearch.schedule import Schedule
from lrsearch.study.backend import Backend, OpenBackend, begin, has, look_up, names_of
from lrsearch.study.comparison_records import Measured, StoredComparison
from lrsearch.study.keys import (
    COMPARISON,
    CURRENT,
    FACTS,
    MEASURED,
    OPTIMUM,
    QUEUE,
    SLOTS,
    SPEC,
    TOLD,
    TRACKING,
)
from lrsearch.study.location import SAFE_NAME, Location
from lrsearch.study.locks import with_lock
from lrsearch.study.spec import SCHEMA, StudySpec
from lrsearch.study.trial_records import reading
from lrsearch.study.trials import TrialTable

#: Types of the user attributes that are decoded without conversion.
KINDS: dict[str, Any] = {
    OPTIMUM: float | None,
    TRACKING: tuple[str | None, str | None] | None,
    SLOTS: tuple[int, int] | None,
    QUEUE: tuple[Schedule, ...] | None,
    CURRENT: bool | None,
    TOLD: tuple[int, ...] | None,
}

#: Lower is better.
MINIMIZE = [StudyDirection.MINIMIZE]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts about a study that trackers record and values do not depend on; empty if unknown.

    Attributes:
        device, data: those of the objective, as in `lrsearch.contract.Setup`.
        sampler, diagnostics: those of the latest search.
    """

    device: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    sampler: str = ""
    diagnostics: str = ""


class Store:
    """One study in its storage.

    Attributes:
        name: name of the study.
        location: where the study is stored.
        spec: specification of the study.
        table: trials of the study.
        optimum: the best possible value of the problem, or None if it is unknown.
        slots: number of runs in flight, or None before the first search has started.
        enqueued: schedules to run before all others.
        current: True if the first of them is the user's current schedule.
        window: W; trial n is sampled from the outcomes of trials 0 … n-1-W.
        tracking: URI of MLflow without its password and id of the parent run, each or None.
        facts: facts for trackers.
    """

    def __init__(self, location: Location, kept: OpenBackend) -> None:
        self.name = location.study
        self.location = location
        self.storage, self.lock, self.clock = kept.records, kept.lock, kept.clock
        self.close = kept.close
        self.key = self.storage.get_study_id_from_name(self.name)
        self.table = TrialTable(self.storage, self.key, self.lock, location)
        self.look()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def look(self) -> None:
        """Read the attributes of the study again, which other processes may have changed.

        Raises:
            RequestError: the study was not written by this version of lrsearch.
        """
        kept = self.storage.get_study_user_attrs(self.key)
        directions = self.storage.get_study_directions(self.key)
        with reading(self.location):
            known = kept.get(SPEC)
            if not isinstance(known, dict) or known.get("schema") != SCHEMA:
                raise RequestError("its format has another version; choose another `study=`")
            if directions != MINIMIZE:
                raise RequestError("its direction is not minimize; choose another `study=`")
            self.spec: StudySpec = decode(StudySpec, known, "study")
            found = {name: decode(kind, kept.get(name), name) for name, kind in KINDS.items()}
            comparison = decode(StoredComparison | None, kept.get(COMPARISON), COMPARISON)
            self.facts: Facts = decode(Facts, kept.get(FACTS) or {}, FACTS)
        self._comparison: StoredComparison | None = comparison
        self.table.spec = self.spec
        self.optimum: float | None = found[OPTIMUM]
        self.slots: int | None
        self.window: int
        self.slots, self.window = found[SLOTS] or (None, 0)
        self.enqueued = tuple(s.with_momentum(self.spec.momentum) for s in found[QUEUE] or ())
        self.current: bool = found[CURRENT] or False
        self.tracking: tuple[str | None, str | None] = found[TRACKING] or (None, None)
        self._told: tuple[int, ...] = found[TOLD] or ()

    @classmethod
    def join(cls, spec: StudySpec) -> Store:
        """Open a study for a search, creating it if it does not exist.

        Raises:
            RequestError: the study was created with different settings, or cannot be opened.
        """
        location = spec.location
        try:
            kept = begin(location)
            with kept.opening():
                with_lock(kept.lock, lambda: _create(kept.records, spec))
                store = cls(location, kept)
        except OSError as error:
            raise RequestError(
                f"cannot write {(location.path or location.runs).parent}: {error.strerror}; "
                "choose another `storage=`"
            ) from error
        differences = store.spec.differences(spec)
        if differences:
            store.close()
            raise RequestError(
                f"study {location.study} was created with different settings "
                f"({'; '.join(differences)}); choose another `study=`, or use the same settings"
            )
        return store

    @classmethod
    def read(cls, location: Location) -> Store:
        """Open a study for reading.

        Raises:
            RequestError: the study does not exist or cannot be read.
        """
        kept = look_up(location)
        with kept.opening():
            if not has(kept.records, location.study):
                known = [one_line(name) for name in names_of(kept.records)]
                hint = closest(location.study, known)
                raise RequestError(f"there is no study {location.study!r} in {location}{hint}")
            return cls(location, kept)

    @staticmethod
    def names(location: Location) -> list[str]:
        """Return the names of the studies in a storage.

        Raises:
            RequestError: the storage does not exist, is not one of lrsearch, or is damaged.
        """
        with closing(look_up(location)) as kept:
            return [name for name in names_of(kept.records) if SAFE_NAME.fullmatch(name)]

    def trials(self) -> dict[int, Trial]:
        """Return the ended trials by index."""
        self.table.refresh()
        return self.table.trials

    def result(
        self,
        trials: Mapping[int, Trial] | None = None,
        *,
        seconds: float | None = None,
    ) -> Result:
        """Return the result of the study.

        Args:
            trials: ended trials in the order of their index, if known; None reads them.
            seconds: duration of the current search; None means the sum over all trials.
        """
        spec, known = self.spec, self.trials() if trials is None else trials
        return Result(
            study=self.name,
            objective=spec.objective,
            space=spec.space.name,
            unit=spec.unit,
            entries=spec.space.entries,
            command=spec.command,
            budget=spec.budget,
            seconds=math.fsum(t.seconds for t in known.values()) if seconds is None else seconds,
            storage=str(self.location),
            tracking_uri=self.tracking[0],
            run_id=self.tracking[1],
            trials=tuple(known.values()),
            optimum=self.optimum,
            enqueued=len(self.enqueued),
            current=self.current,
            comparison=self.comparison(len(known) - len(self.table.failed)),
        )

    def keep_facts(self, facts: Facts) -> None:
        """Store the facts for trackers, if they have changed."""
        if facts != self.facts:
            self.facts = facts
            self.keep(FACTS, facts)

    def keep(self, name: str, value: Any) -> None:
        """Store an attribute of the study."""
        self.storage.set_study_user_attr(self.key, name, encode(value))

    def enqueue(self, schedules: Sequence[Schedule], *, current: bool = False) -> None:
        """Store the schedules to run first, unless the study has already started.

        Args:
            schedules: the schedules.
            current: True if the first of them is the user's current schedule.

        Raises:
            RequestError: the study has started with other schedules.
        """
        given = tuple(schedules)

        def keep() -> None:
            self.look()
            if self.slots is None and given and (given, current) != (self.enqueued, self.current):
                self.enqueued, self.current = given, current
                self.keep(QUEUE, given)
                self.keep(CURRENT, current)

        with_lock(self.lock, keep)
        if given and (given, current) != (self.enqueued, self.current):
            raise RequestError(
                f"study {self.name} began with {len(self.enqueued) or 'no'} schedules to try "
                "first, which cannot change; leave out `current=` and `enqueue=`, or choose "
                "another `study=`"
            )

    def measured(self, stage: str) -> dict[Schedule, dict[int, Outcome]]:
        """Return the outcomes of comparison runs by schedule and seed.

        Args:
            stage: stage of the comparison, `select` or `report`.
        """
        found: dict[Schedule, dict[int, Outcome]] = {}
        with reading(self.location):
            for name, kept in self.storage.get_study_user_attrs(self.key).items():
                if name.startswith(f"{MEASURED}.{stage}."):
                    known: Measured = decode(Measured, kept, name)
                    schedule = known.schedule.with_momentum(self.spec.momentum)
                    outcomes = {outcome.replicate: outcome for outcome in known.outcomes}
                    found[schedule] = {**found.get(schedule, {}), **outcomes}
        return found

    def keep_measured(
        self, stage: str, schedule: Schedule, outcomes: Mapping[int, Outcome]
    ) -> None:
        """Store the outcomes of a schedule in a stage of the comparison, by seed."""
        kept = tuple(outcomes[replicate].thin() for replicate in sorted(outcomes))
        name = f"{MEASURED}.{stage}.{digest(schedule)}"
        self.keep(name, Measured(schedule=schedule, outcomes=kept))

    def comparison(self, trials: int | None = None) -> Comparison | None:
        """Return the latest comparison; with a number of trials, only if it was made with them."""
        if self._comparison is None or trials not in (None, self._comparison.trials):
            return None
        return self._comparison.confirmation

    def set_comparison(self, comparison: Comparison, trials: int) -> None:
        """Store a comparison and its number of trials, unless one with more trials is stored."""
        self.look()
        if self._comparison is None or self._comparison.trials <= trials:
            self._comparison = StoredComparison(trials=trials, confirmation=comparison)
            self.keep(COMPARISON, self._comparison)

    def set_slots(self, slots: int, window: int) -> None:
        """Store the number of runs in flight and the sampler's window, if none are stored."""

        def keep() -> None:
            self.look()
            if self.slots is None:
                self.slots, self.window = slots, window
                self.keep(SLOTS, [slots, window])
                # A second copy: repair needs one that is intact.
                kept = self.storage.get_study_user_attrs(self.key)
                self.keep(SPEC, kept[SPEC])

        with_lock(self.lock, keep)

    def set_tracking(self, uri: str | None, run_id: str | None) -> None:
        """Store the URI and the parent run of the tracker."""
        if uri is not None and (uri, run_id) != self.tracking:
            self.tracking = (uri, run_id)
            self.keep(TRACKING, [uri, run_id])

    def is_told(self, result: Result) -> bool:
        """Return whether the tracker, if there is one, has received all of a result."""
        return self.tracking[0] is None or self._told == _told(result)

    def set_told(self, result: Result) -> None:
        """Store that the tracker has received all of a result."""
        if self._told != _told(result):
            self._told = _told(result)
            self.keep(TOLD, self._told)

    def set_optimum(self, optimum: float) -> None:
        """Store the best possible value of the problem."""
        self.optimum = optimum
        self.keep(OPTIMUM, optimum)


def _create(storage: Backend, spec: StudySpec) -> None:
    """Create a study, or complete one whose process died while creating it."""
    if not has(storage, spec.name):
        storage.create_new_study(MINIMIZE, spec.name)
    key = storage.get_study_id_from_name(spec.name)
    if SPEC in storage.get_study_user_attrs(key) or storage.get_n_trials(key):
        return
    record = encode(dataclasses.replace(spec, id=uuid.uuid4().hex))
    storage.set_study_user_attr(key, SPEC, record)


def _told(result: Result) -> tuple[int, ...]:
    """Return the numbers of trials and of comparison runs that a tracker receives of a result."""
    return (len(result.trials), result.counted, result.comparison.runs if result.comparison else 0)
