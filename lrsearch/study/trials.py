"""Which trials of a study have ended, and which are under way, by whom.

An attempt at a trial is a trial of Optuna's that runs; lrsearch keeps its own index, so that an
attempt that is lost with its process counts for nothing, and the next one has the same index and
the same schedule. An attempt ends once: what comes second, because its worker was taken for dead,
is refused by the storage and dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from lrsearch.errors import RequestError, one_line
from lrsearch.ranges import Value
from lrsearch.result import STATES, Outcome, Trial
from lrsearch.schedule import Schedule
from lrsearch.study.backend import Backend
from lrsearch.study.journal import STRANGE
from lrsearch.study.request import MOST
from lrsearch.study.shape import TRIAL, conform

__all__ = [
    "ATTEMPT",
    "ENDED",
    "LOST",
    "RunningTrial",
    "TrialTable",
    "final_state",
    "read_trial",
    "reading",
]

#: Attributes of Optuna's trials: how one ended, whose attempt it is, and that it was lost.
ENDED, ATTEMPT, LOST = "lrsearch", "lrsearch.attempt", "lrsearch.lost"


@dataclass(frozen=True, kw_only=True)
class RunningTrial:
    """A trial under way.

    Attributes:
        index: lrsearch's own count.
        worker: the id of whoever is at it.
        point: its values of the free fields; empty for a schedule outside the space.
        key: the trial's id in Optuna's storage.
    """

    index: int
    worker: str
    point: Mapping[str, Value]
    key: int


@contextmanager
def reading(location: object) -> Iterator[None]:
    """Turns what a record raises that lrsearch did not write into one clear error.

    Raises:
        RequestError: with the place in it.
    """
    try:
        yield
    except RequestError as error:
        raise RequestError(
            f"{location} holds a record that is none of lrsearch's: {error}"
        ) from error
    except STRANGE as error:
        raise RequestError(
            f"{location} holds a record that is none of lrsearch's ({type(error).__name__}: "
            f"{error}); choose another --storage"
        ) from error


class TrialTable:
    """The trials of one study.

    Args:
        storage: Optuna's.
        study: the study's id there.
        location: what holds it, for messages.

    Attributes:
        trials: those that have ended, by index.
        running: those under way, by index.
        lost: how many attempts at a trial were lost with their process.
        news: the trials that have ended and that nobody has taken from here yet.
    """

    def __init__(self, storage: Backend, study: int, location: object) -> None:
        self.trials: dict[int, Trial] = {}
        self.running: dict[int, RunningTrial] = {}
        self.lost: Counter[int] = Counter()
        self.news: list[Trial] = []
        self._storage, self._study, self._location = storage, study, location
        self._settled: set[int] = set()
        self._first = 0  # before it all are settled

    def complete(self, trials: int) -> bool:
        """Whether so many trials have ended, the first of all."""
        return all(index in self.trials for index in range(trials))

    def refresh(self) -> None:
        """Takes in what was written since the last look.

        Raises:
            RequestError: a record is none of lrsearch's.
        """
        self.running, known = {}, len(self.trials)
        with reading(self._location):
            trials = self._storage.get_all_trials(self._study, deepcopy=False)
            while self._first < len(trials) and trials[self._first].number in self._settled:
                self._first += 1
            for frozen in trials[self._first :]:
                if frozen.number in self._settled:
                    continue
                trial = self._take(frozen)
                if trial is not None:
                    self.trials[trial.index] = trial
                    self.news.append(trial)
        if len(self.trials) > known:
            self.trials = dict(sorted(self.trials.items()))

    def _take(self, frozen: FrozenTrial) -> Trial | None:
        """A trial that has ended and was not known."""
        own = frozen.user_attrs.get(ATTEMPT)
        if own is not None:
            conform(own, {"index": int, "worker": str, "retry": int, "point": {str: object}})
        if not frozen.state.is_finished():
            if own is not None:
                attempt = RunningTrial(
                    index=own["index"],
                    worker=own["worker"],
                    point=own["point"],
                    key=frozen._trial_id,
                )
                self.running.setdefault(attempt.index, attempt)
            return None
        self._settled.add(frozen.number)
        # What it wrote after it was taken for dead counts for nothing: another was at it by then.
        if own is not None and frozen.user_attrs.get(LOST) and frozen.state == TrialState.FAIL:
            self.lost[own["index"]] += 1
            return None
        kept = frozen.user_attrs.get(ENDED)
        if kept is None:
            return None
        trial = read_trial(kept)
        return None if trial.index in self.trials else trial


def final_state(kept: Mapping[str, Any]) -> tuple[TrialState, float | None]:
    """What Optuna is told of a trial that has ended: its state, and its value if it has one.

    A diverged trial is complete, with a finite value that teaches samplers to stay away, and has
    failed where no such value is known.
    """
    told = kept["told"]
    if kept["state"] in ("finished", "diverged") and told is not None:
        return TrialState.COMPLETE, float(told)
    return (TrialState.PRUNED if kept["state"] == "pruned" else TrialState.FAIL), None


def read_trial(kept: Mapping[str, Any]) -> Trial:
    """A trial of the record that it left when it ended.

    Raises:
        ValueError: it is none, or contradicts itself.
    """
    conform(kept, TRIAL)
    trial = Trial(
        index=kept["index"],
        schedule=Schedule.from_dict(kept["schedule"]),
        outcomes=tuple(
            Outcome.from_dict({**outcome, "reason": one_line(outcome["reason"])})
            for outcome in kept["outcomes"]
        ),
    )
    if not 0 <= trial.index < MOST:
        raise ValueError(f"trial {trial.index}")
    expected = [(trial.index, replicate) for replicate in range(len(trial.outcomes))]
    states = {outcome.state for outcome in trial.outcomes}
    if [(o.trial, o.replicate) for o in trial.outcomes] != expected or not expected:
        raise ValueError("the runs of a trial are not its own")
    if not states <= set(STATES) or trial.state != kept["state"]:
        raise ValueError(f"a {kept['state']} trial of runs that are {', '.join(states)}")
    if any(len(t.updates) != len(t.values) for o in trial.outcomes for t in o.traces.values()):
        raise ValueError("a curve without a value for every update")
    return trial
