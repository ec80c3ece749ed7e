"""The interface of trackers, which record a study for people. A tracker may fail without harm."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lrsearch.outcome import Trial
from lrsearch.result import Result
from lrsearch.study.settings import declared
from lrsearch.study.spec import StudySpec
from lrsearch.study.store import Facts, Store


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """The facts about a study that a tracker gets at its start.

    Attributes:
        spec: the study; its `trials` is the requested total number of trials.
        facts: settings and device of the study's searches.
        slots: number of runs in flight.
        storage: where the study is stored, without a password.
        spool: file on this machine for records that could not be written.
    """

    spec: StudySpec
    facts: Facts
    slots: int
    storage: str
    spool: Path


def study_facts(store: Store, trials: int) -> StudyFacts:
    """Return the facts about a study for its tracker.

    Args:
        store: the store of the study.
        trials: requested total number of trials.
    """
    return StudyFacts(
        spec=dataclasses.replace(store.spec, trials=max(trials, 1)),
        facts=store.facts,
        slots=store.slots or 1,
        storage=str(store.location),
        spool=store.location.beside(".spool.jsonl"),
    )


def tracked_settings(facts: StudyFacts) -> dict[str, object]:
    """Return the settings that trackers record, by name, without those that are unknown.

    Settings that may change between searches have the value of the latest search.
    """
    latest = {"sampler": facts.facts.sampler, "diagnostics": facts.facts.diagnostics}
    named = {
        f.name: latest.get(f.name, getattr(facts.spec, f.name))
        for f, about in declared(facts.spec)
        if about.tracked
    }
    return {name: value for name, value in named.items() if value != ""}


class Tracker(Protocol):
    """A tracker of a study. It may fail without harm, because the storage has the whole study.

    Attributes:
        uri: its address without a password, or None.
        run_id: id of the study's parent run, or None if it is not known.
        missed: number of records that could not be written.
    """

    uri: str | None
    run_id: str | None
    missed: int

    def start(self, facts: StudyFacts, trials: Iterable[Trial]) -> None:
        """Start to track a study; `trials` are those that ended earlier."""
        ...

    def trial_ended(self, trial: Trial) -> None:
        """Record a trial; return at once."""
        ...

    def finish(self, result: Result, state: str) -> None:
        """Write the remaining records. `state` is `finished`, `interrupted` or `failed`."""
        ...


class NoTracker:
    """A tracker that records nothing, for `tracking_uri="none"`."""

    uri: str | None = None
    run_id: str | None = None
    missed = 0

    def start(self, facts: StudyFacts, trials: Iterable[Trial]) -> None:
        """Do nothing."""

    def trial_ended(self, trial: Trial) -> None:
        """Do nothing."""

    def finish(self, result: Result, state: str) -> None:
        """Do nothing."""
