"""The number of runs in flight, and the staleness window of the sampler that follows from it."""

from __future__ import annotations

from lrsearch.contract import Elastic, Objective
from lrsearch.errors import RequestError
from lrsearch.study.settings import AUTO
from lrsearch.study.spec import StudySpec
from lrsearch.study.store import Store


def window(slots: int, seeds: int) -> int:
    """Return W, the number of preceding trials whose outcomes a trial does not use.

    W is 0 for one run at a time. With K trials in flight, 2K-1 keeps 98 % of the slots busy if
    half of the trials diverge early; K-1 keeps 61 % (measured in simulation).
    """
    return 0 if slots == 1 else 2 * -(-slots // seeds) - 1


def parallel(window: int, seeds: int) -> int:
    """Return the largest number of runs in flight that a study of this window allows."""
    return (window + 1) // 2 * seeds if window else 1


def useful_slots(trials: int, seeds: int) -> int:
    """Return the largest number of slots for which W is at most a third of the trials."""
    return seeds * max(1, (trials // 3 + 1) // 2)


def fix_slots(spec: StudySpec, objective: Objective, store: Store) -> int:
    """Return the number of slots of each worker; a new study stores this number and W."""
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
            f"study {store.name} was created for {parallel(store.window, spec.seeds)} runs at the "
            f"same time, not for {spec.parallel}; leave out `parallel=`, or choose "
            "another `study=`"
        )
    return asked if isinstance(asked, int) else store.slots or 1
