"""A search from its first look at the study to its comparison, by one process or by many."""

from __future__ import annotations

import time
from contextlib import ExitStack

from lrsearch.contract import NoProbes, Objective, Probes, Tracker
from lrsearch.errors import SearchFailed
from lrsearch.result import Result
from lrsearch.search.callbacks import Callback
from lrsearch.search.comparison_run import ComparisonRun
from lrsearch.search.leader import Leader
from lrsearch.search.loop import POLL, Loop
from lrsearch.search.signals import Interrupted, Shield, interruptible
from lrsearch.search.slots import fix_slots
from lrsearch.study.attempts import Attempts
from lrsearch.study.heartbeat import Heartbeat
from lrsearch.study.record import study_record
from lrsearch.study.request import ComparisonSpec, Search
from lrsearch.study.store import Store

__all__ = ["run_search"]


def run_search(
    search: Search,
    objective: Objective,
    tracker: Tracker,
    callback: Callback,
    compare: ComparisonSpec | None = None,
    probes: Probes | None = None,
) -> Result:
    """Searches until as many trials have ended as were asked for, then compares what it found.

    Processes that are given the same study share its trials; one of them compares.

    Args:
        search: what is asked for.
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
    probes = NoProbes() if probes is None else probes
    with ExitStack() as exits, interruptible(shield):
        store = exits.enter_context(Store.join(search.location, study_record(search, setup)))
        shield.hurry = store.clock.hurry
        store.enqueue(search.enqueued)
        result = store.result(seconds=0.0)
        complete = store.table.complete(search.trials)
        known = compare is None or (compare.frugal and result.comparison is not None)
        known = complete and known
        if known and store.is_told(result):
            _find_optimum(search, objective, store)
            return store.result(seconds=time.perf_counter() - began)
        with Heartbeat(store.storage, store.key, store.lock, store.clock) as heartbeat:
            running = Attempts(store, heartbeat)
            lead = Leader(store, heartbeat, tracker, search.trials)
            with shield:
                running.reap()
                if not complete:
                    store.keep_facts(setup, sampler=search.sampler, diagnostics=probes.level)
            slots = fix_slots(search, objective, store)
            loop = Loop(search, objective, store, running, lead, callback, shield, probes, slots)
            state = "failed"
            try:
                _leads(loop, lead, shield)
                if not loop.complete:
                    loop.drive()
                _find_optimum(search, objective, store)
                if compare is not None and not known and loop.complete and loop.result().ranked:
                    comparer = ComparisonRun(search, objective, store, shield, callback)
                    _compare(loop, lead, comparer, compare)
                state = "finished"
            except SearchFailed as error:
                error.result = loop.result() if loop.complete else None
                raise
            except Interrupted as interrupt:
                state = "interrupted"
                callback.stopping()
                raise Interrupted(interrupt.number, _where_it_stands(loop, search)) from None
            finally:
                with shield:
                    running.release()
                    lead.finish(loop.result(), state)
            return loop.result()


def _where_it_stands(loop: Loop, search: Search) -> str:
    trials = f"{loop.ended} of {max(search.trials, loop.ended)} trials ended"
    if loop.complete:
        trials = f"all {loop.ended} trials ended, and what follows them under way"
    return (
        f"interrupted with {trials}; all that was measured is kept, and the same command goes on"
    )


def _find_optimum(search: Search, objective: Objective, store: Store) -> None:
    """The reference is of plain SGD at a constant batch: no other search is held against it."""
    growth = search.space.entries.get("batch_growth", 1.0)
    momentum = search.space.entries.get("momentum", objective.setup.momentum)
    if store.optimum is None and growth == 1.0 and not momentum:
        optimum = objective.optimum(search.steps, search.batch)
        if optimum is not None:
            store.set_optimum(optimum)


def _compare(loop: Loop, lead: Leader, comparer: ComparisonRun, asked: ComparisonSpec) -> None:
    """Holds the best schedules against the baselines, or says what that would cost.

    Whoever leads does it; the others wait for its answer, or for the lead.
    """
    while not _leads(loop, lead, comparer.shield):
        loop.say_what_it_waits_for("the comparison, which the process that leads is at")
        time.sleep(5 * POLL)
        if asked.frugal and _look(loop, comparer).comparison is not None:
            return
    result = _look(loop, comparer)
    if not (asked.frugal and result.comparison is not None):
        comparer.answer(result, asked)


def _look(loop: Loop, comparer: ComparisonRun) -> Result:
    """What the study holds now; others may have gone on with it."""
    comparer.store.look()
    comparer.store.trials()
    return loop.result()


def _leads(loop: Loop, lead: Leader, shield: Shield) -> bool:
    with shield:
        lead.follow(loop.result().trials)
    return lead.mine
