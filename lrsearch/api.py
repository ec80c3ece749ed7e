"""The library's front door: names in, objects joined."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrsearch.comparison import Comparison
from lrsearch.contract import Objective
from lrsearch.diagnostics.diagnosis import Diagnosis
from lrsearch.errors import RequestError, SearchFailed
from lrsearch.objectives.builtin import BUILT_IN, check_device
from lrsearch.objectives.loading import check_reference, find_objective
from lrsearch.publishing import make_tracker, model_keeper, tracked_uri
from lrsearch.result import Result
from lrsearch.run import Run
from lrsearch.schedule import Schedule
from lrsearch.search.comparison_spec import ComparisonSpec
from lrsearch.space import Space
from lrsearch.study.location import Location
from lrsearch.study.settings import Settings, declared
from lrsearch.study.spec import StudySpec, resolve
from lrsearch.tracking.uri import check_uri
from lrsearch.workers.workforce import Workforce

if TYPE_CHECKING:
    from lrsearch.search.callbacks import Callback
    from lrsearch.tasks.task import TorchTask


def tune(
    objective: str | Objective | TorchTask | type[TorchTask] | Callable[[Run], float] = "digits",
    *,
    space: str | Space = "default",
    settings: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    trials: int = 100,
    timeout: float | str | None = None,
    trial_timeout: float | str | None = None,
    max_retries: int = 3,
    max_failures: int = 3,
    steps: int | None = None,
    batch: int | None = None,
    seeds: int = 1,
    seed: int = 0,
    sampler: str = "auto",
    pruner: str = "divergence",
    slots: int | str | None = None,
    device: str = "auto",
    workers: int | Workforce | None = None,
    parallel: int | None = None,
    enqueue: Sequence[Schedule | str | Path] = (),
    study: str | None = None,
    storage: str | Path | None = None,
    tracking_uri: str | None = None,
    diagnostics: str = "cheap",
    log_model: str | None = None,
    compare: bool | ComparisonSpec = False,
    callback: Callback | None = None,
) -> Result:
    """Searches for the best schedule of an objective.

    The study is kept; the same call again continues it, or returns at once when it is complete.

    Args:
        objective: the name of a built-in one, `FILE.py:NAME`, a function `train(run)`, a
            `TorchTask` or a class of one, or any `lrsearch.contract.Objective`.
        space: a shipped space's name, a YAML file, or a Space.
        settings: fields of the space to fix or to range anew, such as `{"warmup": 0.1}` or
            `{"peak": {"low": 1e-3, "high": 1e-1, "log": True}}`.
        options: options of a built-in objective, or fields of a class of tasks.
        trials: ended trials in total, those of earlier calls included.
        timeout: seconds, or a duration such as `15m`, after which no further trial begins.
        trial_timeout: seconds, or a duration, that a run may take: it is failed then. A function
            is run in a process of its own for that, and ended even where it hangs.
        max_retries: how often a trial whose process has died is begun again before it is failed.
        max_failures: failed trials in a row that end the search.
        steps: updates of a run; None takes the objective's.
        batch: samples of an update; None takes the objective's.
        seeds: runs a trial, whose mean is its value.
        seed: of the study.
        sampler: `auto`, `gp`, `tpe`, `qmc` or `random`.
        pruner: `divergence` stops what is hopeless, `none` nothing.
        slots: runs in flight, for tasks that train several at once; `auto` measures which number
            is fastest. None is `auto` on a GPU and 16 on a CPU, fewer for short searches. A study
            keeps the number that it began with.
        device: where tasks train: `auto`, `cpu`, `cuda` or `cuda:N`.
        workers: processes that train, each with a GPU of its own where there are several: a
            function in one run at a time, a task a population. One that dies is replaced. None is
            this process alone; a `Workforce` may be on a Ray cluster.
        parallel: runs in flight on all machines together that a study is founded for, so that
            trials look back no further than that; None is those of this call.
        enqueue: Schedules, or .json files of them, to try before all others, the one in use today
            first; they may lie outside the space.
        study: its name; None is OBJECTIVE-SPACE.
        storage: its journal file, or a database's URL; None is `lrsearch-studies/STUDY.journal`.
        tracking_uri: of MLflow; None is MLflow's own, `none` is no tracking.
        diagnostics: what is measured of every trial beside its value, listed in
            `lrsearch.diagnostics.names`: `none`, `schedule` (its arrays alone), `cheap` (curves
            and landscape, for at most a tenth of the training), `full` (for up to as much again).
        log_model: of a task: train the winner once more and log its model to MLflow, registered
            under this name unless it is empty.
        compare: whether to end with `lrsearch.compare`: in full where a run takes under two
            seconds, else within as many runs as there are trials, or not at all.
        callback: sees the search go on.

    Returns:
        the result; its `best` raises NothingFinished if no trial finished.

    Raises:
        RequestError: the request is wrong; nothing was started.
        SearchFailed: trials keep failing.

    Example:
        >>> result = lrsearch.tune("quadratic", trials=3, steps=50, tracking_uri="none")
        >>> result.best.schedule.decay
        'rex'
    """
    asked = dict(locals())  # every setting is written here once, in the signature
    for name in ("compare", "log_model", "callback"):
        del asked[name]
    spec, answers = prepare(**asked)

    from lrsearch.search.callbacks import Callback
    from lrsearch.search.runner import run_search  # Optuna, which no error needs

    comparison = ComparisonSpec(frugal=True) if compare is True else compare or None
    keep = None if log_model is None else model_keeper(spec, answers, log_model)
    tracker, probes = make_tracker(tracking_uri, keep), Diagnosis(spec.diagnostics)
    watcher = callback or Callback()
    result = run_search(spec, answers, tracker, watcher, comparison, probes)
    return dataclasses.replace(result, source=answers)


def compare(
    study: str | Result,
    *,
    objective: str
    | Objective
    | TorchTask
    | type[TorchTask]
    | Callable[[Run], float]
    | None = None,
    top: int = 5,
    seeds: int = 10,
    grid: int = 9,
    against: Sequence[str | Schedule] = (),
    device: str = "auto",
    workers: int | Workforce | None = None,
    storage: str | Path | None = None,
    tracking_uri: str | None = None,
    callback: Callback | None = None,
) -> Comparison:
    """Holds a study's best schedules against baselines, on seeds that the search never saw.

    The peak of each, the candidates' too, is tuned on the same grid with the same selection
    seeds; the candidate and the best baseline are chosen there as well. What is reported comes
    from other seeds. Values that are known already are kept: the same call again returns at once,
    and more seeds measure only the new ones.

    Args:
        study: a study's name, or a Result of `tune`.
        objective: what answers; None is the Result's own, or the built-in one that the study
            names. Code of yours is never found through a study: name it here.
        top: how many of the best trials are considered.
        seeds: fresh seeds of the selection, and as many of the report; at least 5. An exact
            objective needs none.
        grid: peaks on which every schedule is tuned.
        against: names of baselines, Schedules, or .json files of Schedules; empty is all
            baselines, and what was enqueued.
        device: where tasks train.
        workers: processes that train, or a `Workforce`.
        storage: the study's; None is `lrsearch-studies/STUDY.journal`.
        tracking_uri: of MLflow; None is where the study is tracked.
        callback: sees it go on.

    Returns:
        the comparison; `best.schedule` has its tuned peak.

    Raises:
        RequestError: the request is wrong, or the study is another objective's.
        NothingFinished: the study has no finished trial.
        SearchFailed: a run failed.

    Example:
        >>> result = lrsearch.tune("quadratic", trials=3, steps=50, tracking_uri="none")
        >>> found = lrsearch.compare(result, top=2, against=["linear", "cosine"])
        >>> list(found.versus)
        ['linear', 'cosine']
    """
    from lrsearch.study.store import Store

    asked = ComparisonSpec(top=top, seeds=seeds, grid=grid, against=against)
    name = study.study if isinstance(study, Result) else study
    place = study.storage if isinstance(study, Result) and storage is None else storage
    with Store.read(Location.of(name, place)) as store:
        known, result = store.spec, store.result()
    _ = result.best  # a study without one has nothing to compare
    if objective is None and isinstance(study, Result):
        objective = study.source
    words: dict[str, Any] = {}
    if objective is None:
        if known.objective not in BUILT_IN:
            raise RequestError(
                f"study {name} is of objective {known.objective}, which is code of yours; "
                "name it with objective (--objective FILE.py:NAME)"
            )
        objective, words = known.objective, {"options": known.options}
    if result.trials[0].index != 0:
        raise RequestError(f"trial 0 of study {name} has not ended; `lrsearch tune` ends it")
    where = tracked_uri(result, tracking_uri)
    identity = {f.name: getattr(known, f.name) for f, about in declared(known) if about.identity}
    spec, answers = prepare(
        objective,
        space=known.space,
        device=device,
        workers=workers,
        trials=next((n for n, t in enumerate(result.trials) if t.index != n), len(result.trials)),
        study=name,
        storage=place,
        tracking_uri=where,
        **identity,
        **words,
    )

    from lrsearch.search.callbacks import Callback
    from lrsearch.search.runner import run_search

    tracker, watcher = make_tracker(where), callback or Callback()
    found = run_search(spec, answers, tracker, watcher, asked).comparison
    if found is None:
        raise SearchFailed(f"study {name} was not compared; `lrsearch compare {name}` goes on")
    return found


def prepare(
    objective: str | Objective | TorchTask | type[TorchTask] | Callable[[Run], float],
    *,
    space: str | Space = "default",
    settings: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    workers: int | Workforce | None = None,
    tracking_uri: str | None = None,
    **asked: Any,
) -> tuple[StudySpec, Objective]:
    """Checks a request without starting anything; what is cheap to check comes first.

    Args:
        objective: as for `tune`, like the rest.
        space: a shipped space's name, a YAML file, or a Space.
        settings: fields of the space to fix or to range anew.
        options: options of a built-in objective, or fields of a class of tasks.
        device: where tasks train.
        workers: processes that train, or a `Workforce`.
        tracking_uri: of MLflow.
        asked: further fields of `lrsearch.study.settings.Settings`.

    Raises:
        RequestError: the request is wrong.
    """
    if "LRSEARCH_WORKER" in os.environ:
        raise RequestError(
            "this file searches when a worker imports it; put the call below "
            "`if __name__ == '__main__':`"
        )
    if isinstance(objective, str):
        check_reference(objective, options)
    workforce = workers if isinstance(workers, Workforce) else Workforce(workers=workers)
    check_device(device)
    chosen = space if isinstance(space, Space) else Space.load(space)
    request = Settings(space=chosen.with_entries(settings or {}), **asked)
    if tracking_uri is not None:
        check_uri(tracking_uri)
    answers = find_objective(objective, options, device)
    answers = workforce.join(
        objective,
        answers,
        options=options,
        device=device,
        alone=request.trial_timeout is not None,  # what hangs can only be ended with its process
        retries=request.max_retries,
    )
    return resolve(request, answers.setup), answers


def load(study: str, *, storage: str | Path | None = None) -> Result:
    """The result of a study as it stands.

    Args:
        study: its name.
        storage: its journal file, or a database's URL; None is `lrsearch-studies/STUDY.journal`.

    Raises:
        RequestError: there is no such study.

    Example:
        >>> result = lrsearch.tune("quadratic", trials=3, steps=50, tracking_uri="none")
        >>> lrsearch.load("quadratic-default").best.value == result.best.value
        True
    """
    location = Location.of(study, storage)

    from lrsearch.study.store import Store

    with Store.read(location) as store:
        return store.result()
