"""What a tracker is: a view of a study for people. It may fail without harm."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lrsearch.result import Result, Trial
from lrsearch.study.settings import declared
from lrsearch.study.spec import StudySpec
from lrsearch.study.store import Facts, Store


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """What a tracker is told of a study at its start.

    Attributes:
        spec: what the study is; its `trials` are those that are asked for in total.
        facts: what its searches ran with.
        slots: runs in flight.
        storage: where the study is stored, without a password.
        spool: the file on this machine of what could not be told.
    """

    spec: StudySpec
    facts: Facts
    slots: int
    storage: str
    spool: Path


def study_facts(store: Store, trials: int) -> StudyFacts:
    """Return what a tracker is told of a study of which so many trials are asked for."""
    return StudyFacts(
        spec=dataclasses.replace(store.spec, trials=max(trials, 1)),
        facts=store.facts,
        slots=store.slots or 1,
        storage=str(store.location),
        spool=store.location.beside(".spool.jsonl"),
    )


def tracked_settings(facts: StudyFacts) -> dict[str, object]:
    """Return the settings that trackers are told, by name, as far as they are known.

    Those that may change from call to call are the latest search's.
    """
    latest = {"sampler": facts.facts.sampler, "diagnostics": facts.facts.diagnostics}
    named = {
        f.name: latest.get(f.name, getattr(facts.spec, f.name))
        for f, about in declared(facts.spec)
        if about.tracked
    }
    return {name: value for name, value in named.items() if value != ""}


class Tracker(Protocol):
    """A view of the study for people. It may fail without harm: the storage is the truth.

    Attributes:
        uri: where it is, without a password; None where there is none.
        run_id: of the study's page, once it is known.
        missed: how much could not be written.
    """

    uri: str | None
    run_id: str | None
    missed: int

    def start(self, facts: StudyFacts, trials: Iterable[Trial]) -> None:
        """Open the study's page; `trials` are those that ended earlier."""
        ...

    def trial_ended(self, trial: Trial) -> None:
        """Take a trial; return at once."""
        ...

    def finish(self, result: Result, state: str) -> None:
        """Write what is left. `state` is `finished`, `interrupted` or `failed`."""
        ...


class NoTracker:
    """Takes everything and keeps nothing: `--tracking-uri none`."""

    uri: str | None = None
    run_id: str | None = None
    missed = 0

    def start(self, facts: StudyFacts, trials: Iterable[Trial]) -> None:
        """Do nothing."""

    def trial_ended(self, trial: Trial) -> None:
        """Do nothing."""

    def finish(self, result: Result, state: str) -> None:
        """Do nothing."""
