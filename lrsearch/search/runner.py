"""A search from its first look at the study to its comparison, by one process or by many."""

from __future__ import annotations

import time
from contextlib import ExitStack

from lrsearch.contract import Objective, Probes
from lrsearch.errors import SearchFailed
from lrsearch.result import Result
from lrsearch.search.callbacks import Callback
from lrsearch.search.comparison_run import ComparisonRun
from lrsearch.search.comparison_spec import ComparisonSpec
from lrsearch.search.leader import Leader
from lrsearch.search.loop import POLL, Loop, Watchers
from lrsearch.search.signals import Interrupted, Shield, interruptible
from lrsearch.search.slots import fix_slots
from lrsearch.study.heartbeat import Heartbeat
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
) -> Result:
    """Searches until as many trials have ended as were asked for, then compares what it found.

    Processes that are given the same study share its trials; one of them compares.

    Args:
        spec: what is asked for.
        objective: what answers.
        tracker: where people look.
        callback: who watches.
        compare: how the best schedule is held against baselines; None leaves it.
        probes: what is measured beside losses; None is nothing.

    Raises:
        RequestError: the study is of another request.
        SearchFailed: trials keep failing, or the storage cannot be written.
        Interrupted: a signal came; everything that had ended is kept.
    """
    setup, shield, began = objective.setup, Shield(), time.perf_counter()
    probes = Probes() if probes is None else probes
    with ExitStack() as exits, interruptible(shield):
        store = exits.enter_context(Store.join(spec))
        shield.hurry = store.clock.hurry
        store.enqueue(spec.queue)
        result = store.result(seconds=0.0)
        complete = store.table.complete(spec.trials)
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
            loop = Loop(spec, objective, store, shield, slots, watchers)
            state = "failed"
            try:
                _leads(loop, leader)
                if not loop.complete:
                    loop.drain()
                _find_optimum(spec, objective, store)
                if compare is not None and not known and loop.complete and loop.result().ranked:
                    _compare(loop, leader, ComparisonRun(loop, callback), compare)
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
        trials = f"all {loop.ended} trials ended, and what follows them under way"
    return (
        f"interrupted with {trials}; all that was measured is kept, and the same command goes on"
    )


def _find_optimum(spec: StudySpec, objective: Objective, store: Store) -> None:
    """The reference is of plain SGD at a constant batch: no other search is compared with it."""
    growth = spec.space.entries.get("batch_growth", 1.0)
    momentum = spec.space.entries.get("momentum", objective.setup.momentum)
    if store.optimum is None and growth == 1.0 and not momentum:
        optimum = objective.optimum(spec.budget)
        if optimum is not None:
            store.set_optimum(optimum)


def _compare(loop: Loop, leader: Leader, comparer: ComparisonRun, asked: ComparisonSpec) -> None:
    """Compare the best schedules with the baselines, or say what that would cost.

    The leader does it; the others wait for its answer, or for the lead.
    """
    while not _leads(loop, leader):
        loop.say_what_it_waits_for("the comparison, which the process that leads is at")
        time.sleep(5 * POLL)
        if asked.frugal and _look(loop).comparison is not None:
            return
    result = _look(loop)
    if not (asked.frugal and result.comparison is not None):
        comparer.answer(result, asked)


def _look(loop: Loop) -> Result:
    """What the study holds now; others may have gone on with it."""
    loop.store.look()
    loop.store.trials()
    return loop.result()


def _leads(loop: Loop, leader: Leader) -> bool:
    with loop.shield:
        leader.follow(loop.result().trials)
    return leader.mine
