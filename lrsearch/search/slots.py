"""How many runs are in flight, and how far back a trial therefore looks."""

from __future__ import annotations

from lrsearch.contract import Elastic, Objective
from lrsearch.errors import RequestError
from lrsearch.study.settings import AUTO
from lrsearch.study.spec import StudySpec
from lrsearch.study.store import Store


def window(slots: int, seeds: int) -> int:
    """W: how many trials before it a trial cannot see.

    0 for one run at a time. 2K-1 where K trials are in flight keeps 98 % of the slots busy when
    half of the trials diverge early, where K-1 keeps 61 % (measured in simulation).
    """
    return 0 if slots == 1 else 2 * -(-slots // seeds) - 1


def parallel(window: int, seeds: int) -> int:
    """For how many runs in flight a study of that window was founded, at most."""
    return (window + 1) // 2 * seeds if window else 1


def useful_slots(trials: int, seeds: int) -> int:
    """The most slots with which no more than a third of the trials are asked without an answer."""
    return seeds * max(1, (trials // 3 + 1) // 2)


def fix_slots(spec: StudySpec, objective: Objective, store: Store) -> int:
    """Return the slots of each worker of this call; a new study keeps their number, and W."""
    asked, slots = spec.slots, objective.setup.slots
    if store.slots is None:
        if isinstance(asked, int):
            slots = asked
        elif isinstance(objective, Elastic) and slots is None:
            most = useful_slots(spec.trials, spec.seeds)
            slots = objective.fit(most, spec.budget, thorough=asked == AUTO)
        together = spec.parallel or (slots or 1) * objective.setup.workers
        store.set_slots(slots or 1, window(together, spec.seeds))
    if spec.parallel and store.window != window(spec.parallel, spec.seeds):
        raise RequestError(
            f"study {store.name} was founded for {parallel(store.window, spec.seeds)} runs in "
            f"flight, and not for {spec.parallel}; leave parallel out, or name another with "
            "--study"
        )
    return asked if isinstance(asked, int) else store.slots or 1
