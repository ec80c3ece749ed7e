"""The samplers by name. Importing this module loads none of them.

A sampler is one file with a function that makes it from a `Problem`, and one line here.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lrsearch.errors import RequestError, closest

if TYPE_CHECKING:
    from lrsearch.sampling.sampler import Problem, Sampler


@dataclass(frozen=True, kw_only=True)
class Registered:
    """The location and version of a sampler.

    Attributes:
        module, factory: module and function that make it from a `Problem`.
        version: number that increases when the sampler proposes other points. A study can be
            continued only with the version that it was created with.
    """

    module: str
    factory: str
    version: int = 1


#: `auto` is the Gaussian process, for any number of trials.
SAMPLERS: dict[str, Registered] = {
    "auto": Registered(
        module="lrsearch.sampling.gaussian_process", factory="BlockProcess", version=2
    ),
    "gp": Registered(
        module="lrsearch.sampling.gaussian_process", factory="BlockProcess", version=2
    ),
    "tpe": Registered(module="lrsearch.sampling.optuna_models", factory="tpe"),
    "qmc": Registered(module="lrsearch.sampling.sequences", factory="QuasiRandom"),
    "random": Registered(module="lrsearch.sampling.sequences", factory="Uniform"),
}


def make_sampler(name: str, problem: Problem) -> Sampler:
    """Make a sampler.

    Raises:
        RequestError: the name is unknown.
    """
    if name not in SAMPLERS:
        raise RequestError(f"there is no sampler {name!r}{closest(name, SAMPLERS)}")
    entry = SAMPLERS[name]
    sampler: Sampler = getattr(importlib.import_module(entry.module), entry.factory)(problem)
    return sampler
