"""The command line of a study with the numbers of a schedule, to train with it again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from lrsearch.errors import RequestError
from lrsearch.objectives.placeholders import CARRIERS, FILES, fill, used
from lrsearch.plan import Plan
from lrsearch.run import Run
from lrsearch.schedule import Schedule


def to_flags(words: Sequence[str], schedule: Schedule, plan: Plan, *, folder: str = ".") -> str:
    """Return a command line, with the schedule in place of its placeholders and seed 0.

    Args:
        words: the words of a `Command`, with placeholders.
        schedule: the schedule.
        plan: the plan that was drawn from it.
        folder: folder in place of `{folder}`.

    Raises:
        RequestError: the command takes no numbers of the schedule, or takes a file of it too.

    Example:
        >>> schedule = lrsearch.Schedule(peak=0.1, warmup=0.05)
        >>> words = ["python", "train.py", "--lr={peak}", "--warmup={warmup_steps}"]
        >>> lrsearch.export.to_flags(words, schedule, schedule.plan(steps=200))
        'python train.py --lr=0.1 --warmup=10'
    """
    names = used(words)
    if FILES.keys() & set(names):
        raise RequestError(
            "the command of this study reads the schedule from a file; write it with "
            "`lrsearch export STUDY --to csv -o FILE`, and give it to the command"
        )
    if not CARRIERS.keys() & set(names):
        raise RequestError(
            "the command of this study takes no numbers of the schedule; use another format, such "
            "as `lrsearch export STUDY --to python`"
        )
    run = Run(trial=0, replicate=0, seed=0, plan=plan, schedule=schedule)
    return shlex.join(fill(words, run, folder=folder))
