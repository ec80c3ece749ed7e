"""A whole search, from opening the study to its comparison, by one process or by many."""

from __future__ import annotations

import time
from contextlib import ExitStack

from lrsearch.contract import Objective, Probes
from lrsearch.errors import LrsearchError, SearchFailed, log
from lrsearch.result import Result
from lrsearch.search.callbacks import Callback
from lrsearch.search.comparison_spec import ComparisonSpec
from lrsearch.search.leader import Leader
from lrsearch.search.loop import POLL, Loop, Watchers
from lrsearch.search.signals import Interrupted, Shield, interruptible
from lrsearch.search.slots import fix_slots
from lrsearch.study.heartbeat import Heartbeat
from lrsearch.study.journal import study_deleted
from lrsearch.study.spec import StudySpec
from lrsearch.study.store import Facts, Store
from lrsearch.tracking.tracker import Tracker


def run_search(
    spec: StudySpec,
    objective: Objective,
    tracker: Tracker,
    callback: Callback,
    compare: ComparisonSpec | None = None,
    probes: Probes | None = None,
    *,
    retry: bool = True,
) -> Result:
    """Search until the requested number of trials has ended, then compare with baselines.

    Processes of the same study share its trials; one of them runs the comparison.

    Args:
        spec: specification of the study.
        objective: the objective.
        tracker: the tracker, such as MLflow.
        callback: observer of the search.
        compare: settings of the comparison; None for no comparison.
        probes: measurements besides losses; None for none.
        retry: True to run the trials again that failed in earlier searches.

    Raises:
        RequestError: the study was created with different settings.
        SearchFailed: too many trials failed in a row, or the storage cannot be written.
        Interrupted: a signal arrived; trials that had ended are saved.
    """
    try:
        return _search(spec, objective, tracker, callback, compare, probes, retry=retry)
    except KeyError as error:
        if _exists(spec):
            raise
        raise study_deleted() from error


def _exists(spec: StudySpec) -> bool:
    try:
        Store.read(spec.location).close()
    except LrsearchError:
        return False
    return True


def _search(
    spec: StudySpec,
    objective: Objective,
    tracker: Tracker,
    callback: Callback,
    compare: ComparisonSpec | None,
    probes: Probes | None,
    *,
    retry: bool,
) -> Result:
    """Search as `run_search` does."""
    setup, shield, began = objective.setup, Shield(), time.perf_counter()
    probes = Probes() if probes is None else probes
    with ExitStack() as exits, interruptible(shield):
        store = exits.enter_context(Store.join(spec))
        if spec.not_compared and store.trials():
            log.warning(
                "study %s continues; values of its objective that cannot be compared with those "
                "of the earlier search: %s; if they have changed, choose another `study=`",
                spec.name,
                ", ".join(spec.not_compared),
            )
        if (edited := store.spec.edited(spec)) and store.result().ranked:
            log.warning(
                "study %s continues with other files than it was created with: %s; if values have "
                "changed, choose another `study=`",
                spec.name,
                ", ".join(edited),
            )
        shield.hurry = store.clock.hurry
        store.enqueue(spec.queue, current=spec.current is not None)
        result = store.result(seconds=0.0)
        again = store.table.to_retry(spec.max_retries) if retry else set()
        complete = store.table.complete(spec.trials) and not again
        known = compare is None or (compare.frugal and result.comparison is not None)
        known = complete and known
        if known and store.is_told(result):
            _find_optimum(spec, objective, store)
            return store.result(seconds=time.perf_counter() - began)
        if not complete:
            store.spec.check_versions(spec.sampler)
        with Heartbeat(store.storage, store.key, store.lock, store.clock) as heartbeat:
            store.table.join(heartbeat)
            leader = Leader(store, heartbeat, tracker, spec.trials)
            with shield:
                store.table.reap()
                if not complete:
                    store.keep_facts(
                        Facts(
                            device=setup.device,
                            data=dict(setup.data),
                            sampler=spec.sampler,
                            diagnostics=probes.level,
                        )
                    )
            slots = fix_slots(spec, objective, store)
            watchers = Watchers(leader=leader, callback=callback, probes=probes)
            loop = Loop(spec, objective, store, shield, slots, watchers, retry=retry)
            state = "failed"
            try:
                _leads(loop, leader)
                if not loop.complete:
                    loop.drain()
                _find_optimum(spec, objective, store)
                if compare is not None and not known and loop.complete and loop.result().ranked:
                    _compare(loop, leader, callback, compare)
                state = "finished"
            except SearchFailed as error:
                error.result = loop.result() if loop.complete else None
                raise
            except Interrupted as interrupt:
                state = "interrupted"
                callback.stopping()
                raise Interrupted(interrupt.number, _where_it_stands(loop)) from None
            finally:
                with shield:
                    store.table.release()
                    leader.finish(loop.result(), state)
            return loop.result()


def _where_it_stands(loop: Loop) -> str:
    trials = f"{loop.ended} of {max(loop.spec.trials, loop.ended)} trials ended"
    if loop.complete:
        trials = f"all {loop.ended} trials ended, before the comparison was complete"
    return f"interrupted with {trials}; all results are saved; continue with the same command"


def _find_optimum(spec: StudySpec, objective: Objective, store: Store) -> None:
    """Store the optimum, which is valid only for SGD without momentum at a constant batch."""
    growth = spec.space.entries.get("batch_growth", 1.0)
    momentum = spec.space.entries.get("momentum", objective.setup.momentum)
    if store.optimum is None and growth == 1.0 and not momentum:
        optimum = objective.optimum(spec.budget)
        if optimum is not None:
            store.set_optimum(optimum)


def _compare(loop: Loop, leader: Leader, callback: Callback, asked: ComparisonSpec) -> None:
    """Compare the best schedules with the baselines, or report what that would cost.

    The leader runs the comparison. Other processes wait until it is done, or until they become
    the leader.
    """
    from lrsearch.search.comparison_run import ComparisonRun  # searches alone do not need it

    while not _leads(loop, leader):
        loop.say_what_it_waits_for("the comparison, which another process runs")
        time.sleep(5 * POLL)
        if asked.frugal and _look(loop).comparison is not None:
            return
    result = _look(loop)
    if not (asked.frugal and result.comparison is not None):
        ComparisonRun(loop, callback).answer(result, asked)


def _look(loop: Loop) -> Result:
    """Read the study again, because other processes may have changed it."""
    loop.store.look()
    loop.store.trials()
    return loop.result()


def _leads(loop: Loop, leader: Leader) -> bool:
    with loop.shield:
        leader.follow(loop.result().trials)
    return leader.mine
