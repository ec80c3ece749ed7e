"""What a call asks for: `prepare` checks a search, `open_study` a further step of a study."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrsearch.contract import Objective
from lrsearch.errors import RequestError
from lrsearch.objectives.builtin import BUILT_IN, check_device
from lrsearch.objectives.loading import check_reference, find_objective
from lrsearch.publishing import tracked_uri
from lrsearch.result import Result
from lrsearch.run import Run
from lrsearch.space import Space
from lrsearch.study.location import Location
from lrsearch.study.settings import Settings, declared, trials_of
from lrsearch.study.spec import StudySpec, resolve
from lrsearch.tracking.uri import check_uri
from lrsearch.workers.ranks import check_ranks
from lrsearch.workers.workforce import Workforce

if TYPE_CHECKING:
    from lrsearch.tasks.task import TorchTask


@dataclass(frozen=True, kw_only=True)
class OpenedStudy:
    """A study whose comparison is asked for.

    Attributes:
        spec: its specification.
        objective: its objective.
        result: its result.
        tracking_uri: MLflow tracking URI.
    """

    spec: StudySpec
    objective: Objective
    result: Result
    tracking_uri: str | None


def prepare(
    objective: str | Objective | TorchTask | type[TorchTask] | Callable[[Run], float],
    *,
    space: str | Space = "default",
    settings: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    workers: int | Workforce | None = None,
    tracking_uri: str | None = None,
    compared: bool = True,
    **asked: Any,
) -> tuple[StudySpec, Objective]:
    """Check a request without starting anything; cheap checks come first.

    Args:
        objective: the objective, as in `tune`.
        space: the search space, as in `tune`.
        settings: fields of the space to fix or to search in another range.
        options: options of a built-in objective, or fields of a task class.
        device: device of tasks.
        workers: number of worker processes, or a `Workforce`.
        tracking_uri: MLflow tracking URI.
        compared: False if a number of runs has no share for a comparison.
        asked: further fields of `lrsearch.study.settings.Settings`.

    Returns:
        The specification of the study, and the objective.

    Raises:
        RequestError: an argument is wrong.
    """
    if "LRSEARCH_WORKER" in os.environ:
        raise RequestError(
            "this file starts a search when a worker imports it; put the call below "
            "`if __name__ == '__main__':`"
        )
    if isinstance(objective, str):
        check_reference(objective, options)
    workforce = workers if isinstance(workers, Workforce) else Workforce(workers=workers)
    check_device(device)
    chosen = space if isinstance(space, Space) else Space.load(space)
    numbers = (asked.get(name) for name in ("trials", "runs", "seeds"))
    asked["trials"] = trials_of(*numbers, compared=compared)
    request = Settings(space=chosen.with_entries(settings or {}), **asked)
    if tracking_uri is not None:
        check_uri(tracking_uri)
    answers = find_objective(objective, options, device)
    answers = workforce.join(
        objective,
        answers,
        options=options,
        device=device,
        alone=request.trial_timeout
        is not None,  # only a separate process can be ended if it hangs
        retries=request.max_retries,
    )
    check_ranks(answers)
    return resolve(request, answers.setup), answers


def open_study(
    study: str | Result,
    objective: str
    | Objective
    | TorchTask
    | type[TorchTask]
    | Callable[[Run], float]
    | None = None,
    device: str = "auto",
    workers: int | Workforce | None = None,
    storage: str | Path | None = None,
    tracking_uri: str | None = None,
) -> OpenedStudy:
    """Check a request for the comparison of a study; the arguments are those of `compare`.

    Raises:
        RequestError: an argument is wrong, or the study is of another objective.
        NothingFinished: the study has no finished trial.
    """
    from lrsearch.study.store import Store

    name = study.study if isinstance(study, Result) else study
    place = study.storage if isinstance(study, Result) and storage is None else storage
    with Store.read(Location.of(name, place)) as store:
        known, result = store.spec, store.result()
    _ = result.best  # raises NothingFinished if there is nothing to compare
    if objective is None and isinstance(study, Result):
        objective = study.source
    words: dict[str, Any] = {}
    if objective is None:
        if known.command:
            raise RequestError(
                f"the study {name} ran a command, which is never taken from a study; give it "
                "again with its options: after -- on the command line, a Command in Python"
            )
        if known.objective not in BUILT_IN:
            raise RequestError(
                f"study {name} used your own objective {known.objective}; name it with "
                "`objective='FILE.py:NAME'`"
            )
        objective, words = known.objective, {"options": known.options}
    where = tracked_uri(result, tracking_uri)
    identity = {f.name: getattr(known, f.name) for f, about in declared(known) if about.identity}
    spec, answers = prepare(
        objective,
        space=known.space,
        device=device,
        workers=workers,
        trials=result.counted,
        study=name,
        storage=place,
        tracking_uri=where,
        **identity,
        **words,
    )
    return OpenedStudy(spec=spec, objective=answers, result=result, tracking_uri=where)
