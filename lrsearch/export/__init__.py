"""Exports of a plan to training frameworks, each as a table of its rates.

`to_torch` and similar functions make an object of the framework; `to_module` writes a file that
imports only the framework.

Example:
    >>> schedule = lrsearch.Schedule(peak=0.1)
    >>> lrsearch.export.to_csv(schedule.plan(steps=2)).splitlines()
    ['update,lr,batch,momentum', '0,0.1,1,0.0', '1,0.05,1,0.0']
"""

from lrsearch.export.flags import to_flags
from lrsearch.export.module import MODULES, to_module
from lrsearch.export.objects import (
    to_keras,
    to_lightning,
    to_optax,
    to_optax_momentum,
    to_timm,
    to_torch,
    to_transformers,
)
from lrsearch.export.plain_text import to_csv, to_json
from lrsearch.export.python_function import to_python
from lrsearch.export.transformers_words import transformers_arguments

__all__ = [
    "FORMATS",
    "to_csv",
    "to_flags",
    "to_json",
    "to_keras",
    "to_lightning",
    "to_module",
    "to_optax",
    "to_optax_momentum",
    "to_python",
    "to_timm",
    "to_torch",
    "to_transformers",
    "transformers_arguments",
]

#: Formats of `lrsearch export --to`.
FORMATS = ("json", "csv", "python", "flags", *MODULES)
