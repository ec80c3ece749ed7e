"""The public functions: `tune`, `compare` and `load`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrsearch.comparison import Comparison
from lrsearch.contract import Objective
from lrsearch.diagnostics.diagnosis import Diagnosis
from lrsearch.errors import RequestError, SearchFailed
from lrsearch.publishing import make_tracker, model_keeper
from lrsearch.request import open_study, prepare
from lrsearch.result import Result
from lrsearch.run import Run
from lrsearch.schedule import Schedule
from lrsearch.search.comparison_spec import ComparisonSpec
from lrsearch.space import Space
from lrsearch.study.location import Location
from lrsearch.workers.ranks import search_ranks, several_ranks
from lrsearch.workers.workforce import Workforce

if TYPE_CHECKING:
    from lrsearch.search.callbacks import Callback
    from lrsearch.search.comparison_choice import Offer
    from lrsearch.tasks.task import TorchTask


def tune(
    objective: str | Objective | TorchTask | type[TorchTask] | Callable[[Run], float] = "digits",
    *,
    space: str | Space = "default",
    settings: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    trials: int | None = None,
    runs: int | None = None,
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
    current: Schedule | str | Path | None = None,
    enqueue: Sequence[Schedule | str | Path] = (),
    study: str | None = None,
    storage: str | Path | None = None,
    tracking_uri: str | None = None,
    diagnostics: str = "cheap",
    log_model: str | None = None,
    compare: bool | ComparisonSpec = True,
    callback: Callback | None = None,
) -> Result:
    """Search for the best learning-rate schedule of an objective.

    The study is saved. The same call again continues it, or returns its result if it is complete.

    Args:
        objective: name of a built-in objective, `FILE.py:NAME`, a function `train(run)`, a
            `TorchTask` or a class of one, or any `lrsearch.contract.Objective`.
        space: name of a shipped space, a YAML file, or a `Space`.
        settings: fields of the space to fix or to search in another range, such as
            `{"warmup": 0.1}` or `{"peak": {"low": 1e-3, "high": 1e-1, "log": True}}`.
        options: options of a built-in objective, or fields of a task class.
        trials: total number of trials, including those of earlier calls; None for 100.
        runs: in place of it, the total number of training runs, search and comparison together;
            from 12 runs on, half of them compare the best schedule with the current or default
            one, or with tuned baselines if they suffice. The comparison of an exact objective,
            whose runs take milliseconds, is not limited.
        timeout: time after which no new trial starts, in seconds or as text such as `15m`.
        trial_timeout: longest time of a run, in seconds or as text; a longer run fails. A function
            is then run in a separate process, which can be ended if it hangs.
        max_retries: retries after a crashed process before the trial is marked failed.
        max_failures: number of consecutive failed trials that stops the search.
        steps: steps (optimizer updates) per run; None for the objective's default.
        batch: batch size of the first step; None for the objective's default.
        seeds: runs per trial, each with its own seed; their mean is the trial's value.
        seed: random seed of the study.
        sampler: `auto`, `gp`, `tpe`, `qmc` or `random`.
        pruner: `divergence` stops runs whose loss explodes, `none` stops no run.
        slots: runs in flight, for tasks that train several at once; `auto` measures which number
            is fastest. None is `auto` on a GPU and 16 on a CPU, fewer for short searches. A study
            keeps the number that it was created with.
        device: device of tasks: `auto`, `cpu`, `cuda` or `cuda:N`.
        workers: number of worker processes, each with one GPU if there are several, or a
            `Workforce`, which may be on a Ray cluster. A function trains one run at a time in
            each, a task a population. A worker that dies is replaced. None trains in this process.
        parallel: total concurrent runs across all machines, fixed when the study is created; None
            for those of this call.
        current: the Schedule, or .json file of a Schedule, that you use today. It is tried first
            and is part of the comparison; it may be outside the space.
        enqueue: further Schedules, or .json files, to try first.
        study: name of the study; None for OBJECTIVE-SPACE.
        storage: journal file or database URL; None for `lrsearch-studies/STUDY.journal`.
        tracking_uri: MLflow tracking URI; None for MLflow's own setting, `none` for no tracking.
        diagnostics: measurements per trial, listed in `lrsearch.diagnostics.names`: `none`,
            `schedule` (from the plan alone), `cheap` (curves and landscape, at most 10 % extra
            compute) or `full` (at most 100 %).
        log_model: for a task, train the best schedule once more and log the model to MLflow,
            registered under this name unless it is empty.
        compare: True to end with `lrsearch.compare`: in full if that takes under two minutes or
            less time than the search; else within the number of runs of the search, or not at all
            if that is under six. False for no comparison. Or its settings.
        callback: object whose methods are called while the search runs.

    Returns:
        The result. Its `best` raises NothingFinished if no trial finished.

    Raises:
        RequestError: an argument is wrong; nothing was started.
        SearchFailed: too many consecutive trials failed.

    Example:
        >>> result = lrsearch.tune("quadratic", trials=3, steps=50, tracking_uri="none")
        >>> result.best.schedule.decay
        'rex'
    """
    asked = dict(locals())  # every argument, so that the settings need not be listed again
    for name in ("compare", "log_model", "callback"):
        del asked[name]
    spec, answers = prepare(**asked, compared=compare is not False)

    from lrsearch.search.callbacks import Callback
    from lrsearch.search.comparison_sizes import describe_budget
    from lrsearch.search.runner import run_search  # loads Optuna, which no RequestError needs

    comparison = None
    if isinstance(compare, ComparisonSpec):
        comparison = dataclasses.replace(compare, limit=compare.limit or runs)
    elif compare:
        comparison = ComparisonSpec(frugal=True, limit=runs)
    keep = None if log_model is None else model_keeper(spec, answers, log_model)
    probes, watcher = Diagnosis(spec.diagnostics), callback or Callback()
    if runs is not None and compare is True and not answers.setup.exact:
        watcher.planned(describe_budget(spec.trials * spec.seeds, runs))

    def search(objective: Objective) -> Result:
        tracker = make_tracker(tracking_uri, keep)
        return run_search(spec, objective, tracker, watcher, comparison, probes)

    return dataclasses.replace(search_ranks(answers, search), source=answers)


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
    seeds: int = 20,
    runs: int | None = None,
    against: Sequence[str | Schedule] = (),
    device: str = "auto",
    workers: int | Workforce | None = None,
    storage: str | Path | None = None,
    tracking_uri: str | None = None,
    callback: Callback | None = None,
) -> Comparison:
    """Compare the best schedules of a study with baselines, on seeds that the search never used.

    The peaks of the best candidate and of every baseline are tuned with the same selection seeds.
    The candidate and the best baseline are chosen on these seeds too. The reported values come
    from other seeds. Runs are saved: the same call again returns at once, and with twice the
    seeds only the new seeds are trained.

    Args:
        study: name of a study, or a Result of `tune`.
        objective: the objective of the study; None for the Result's own, or for the built-in one
            that the study names. Your own code is never loaded because a study names it.
        top: number of best trials that are considered.
        seeds: largest number of fresh seeds per schedule, at least 3; fewer are run if the
            verdict is clear early. An exact objective needs no seeds.
        runs: largest number of runs, in place of `top` and `seeds`; the smallest comparison, which
            is of the best trial with the current or default schedule, needs 6.
        against: names of baselines, Schedules, or .json files of Schedules; empty for all
            baselines, the current and the default schedule.
        device: device of tasks.
        workers: number of worker processes, or a `Workforce`.
        storage: storage of the study; None for `lrsearch-studies/STUDY.journal`.
        tracking_uri: MLflow tracking URI; None for the one of the study.
        callback: object whose methods are called while the comparison runs.

    Returns:
        The comparison. `best.schedule` has its tuned peak.

    Raises:
        RequestError: an argument is wrong, or the study is of another objective.
        NothingFinished: the study has no finished trial.
        SearchFailed: a run failed.

    Example:
        >>> result = lrsearch.tune("quadratic", trials=3, steps=50, tracking_uri="none")
        >>> found = lrsearch.compare(result, top=2, against=["linear", "cosine"])
        >>> list(found.versus)
        ['linear', 'cosine']
    """
    if several_ranks():
        raise RequestError(
            "a comparison of its own is not possible under torchrun; use `compare=True` in "
            "lrsearch.tune"
        )
    asked = ComparisonSpec(top=top, seeds=seeds, runs=runs, against=against)
    known = open_study(study, objective, device, workers, storage, tracking_uri)
    spec = known.spec

    from lrsearch.search.callbacks import Callback
    from lrsearch.search.runner import run_search

    tracker, watcher = make_tracker(known.tracking_uri), callback or Callback()
    found = run_search(spec, known.objective, tracker, watcher, asked, retry=False).comparison
    if found is None:
        raise SearchFailed(
            f"study {spec.name} was not compared; run `lrsearch compare {spec.name}"
            f"{spec.location.option}` to continue"
        )
    return found


def preview(
    study: str, *, objective: Any = None, storage: str | Path | None = None, **asked: Any
) -> Offer:
    """Plan a comparison without running it.

    Args:
        study: name of the study.
        objective: the objective of the study, as in `compare`.
        storage: storage of the study; None for `lrsearch-studies/STUDY.journal`.
        asked: `top`, `seeds`, `runs` and `against` of `compare`.

    Returns:
        The plan of the comparison, with the time that it takes.

    Raises:
        RequestError: an argument is wrong, or no comparison fits into `runs`.
        NothingFinished: the study has no finished trial.
    """
    from lrsearch.search.comparison_choice import preview_comparison

    wanted = ComparisonSpec(**asked)
    known = open_study(study, objective, storage=storage)
    return preview_comparison(known.spec, known.result, known.objective.setup, wanted)


def load(study: str, *, storage: str | Path | None = None) -> Result:
    """Load the current result of a study.

    Args:
        study: name of the study.
        storage: journal file or database URL; None for `lrsearch-studies/STUDY.journal`.

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
