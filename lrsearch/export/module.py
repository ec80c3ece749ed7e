"""Schedules as Python files that import only their framework.

A file contains the schedule as a function of the step, the classes and functions that
`lrsearch.export.objects` uses, and a function that applies them. A schedule without a closed form
is a table. Writing a file loads no framework.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lrsearch.export.closed_form import closed_form
from lrsearch.export.plan_checks import check_plan, varying_momentum
from lrsearch.export.transformers_words import transformers_arguments
from lrsearch.plan import Plan
from lrsearch.schedule import Schedule

WIDTH = 99


@dataclass(frozen=True, kw_only=True)
class _Form:
    """The parts of a framework's file.

    Attributes:
        sources: files of this package whose classes and functions it contains.
        usage: example of its use, for its docstring.
        tail: last lines, which may use LR and MOMENTUM.
        momentum: True if it sets a varying momentum.
    """

    sources: tuple[str, ...]
    usage: str
    tail: str
    momentum: bool = True


#: The class of columns that are computed.
_VALUES = "step_values.py"
_TORCH = ("param_groups.py", "torch_rates.py")
_MAKE = '''
def make_scheduler(optimizer: Optimizer) -> {kind}:
    """Make a scheduler; call `{call}` after every step."""
    return {kind}(optimizer, LR, MOMENTUM)
'''

_FORMS = {
    "torch": _Form(
        sources=_TORCH,
        usage="""\
            optimizer = torch.optim.SGD(model.parameters(), lr=LR[0])  # or any other
            scheduler = make_scheduler(optimizer)
            for batch in loader:
                ...
                optimizer.step()
                scheduler.step()
            """,
        tail=_MAKE.format(kind="PlannedLR", call="scheduler.step()"),
    ),
    "transformers": _Form(
        sources=_TORCH,
        usage="""\
            optimizer = torch.optim.AdamW(model.parameters(), lr=LR[0])
            arguments = TrainingArguments(..., max_steps=len(LR))
            Trainer(model, arguments, ..., optimizers=(optimizer, make_scheduler(optimizer)))
            """,
        tail=_MAKE.format(kind="PlannedLR", call="scheduler.step()"),
    ),
    "lightning": _Form(
        sources=_TORCH,
        usage="""\
            class Model(LightningModule):
                def configure_optimizers(self):
                    return configure(torch.optim.AdamW(self.parameters(), lr=LR[0]))
            """,
        tail='''
def configure(optimizer: Optimizer) -> dict[str, Any]:
    """Return the value for `configure_optimizers`, with one scheduler step per optimizer step."""
    stepped = {"scheduler": PlannedLR(optimizer, LR, MOMENTUM), "interval": "step", "frequency": 1}
    return {"optimizer": optimizer, "lr_scheduler": stepped}
''',
    ),
    "timm": _Form(
        sources=("param_groups.py", "timm_rates.py"),
        usage="""\
            scheduler = make_scheduler(optimizer)
            for updates, batch in enumerate(loader, start=1):
                ...
                optimizer.step()
                scheduler.step_update(updates)
            """,
        tail=_MAKE.format(kind="PlannedScheduler", call="scheduler.step_update(updates)"),
    ),
    "optax": _Form(
        sources=("optax_rates.py",),
        usage="""\
            optimizer = optax.adam(learning_rate)
            """,
        tail="\nlearning_rate = planned(LR)\n",
        momentum=False,
    ),
    "keras": _Form(
        sources=("keras_rates.py",),
        usage="""\
            optimizer = keras.optimizers.Adam(make_schedule())
            """,
        tail='''
def make_schedule() -> PlannedRate:
    """Make the learning rate for any Keras optimizer."""
    return PlannedRate(LR)
''',
        momentum=False,
    ),
}

#: Frameworks for which a file can be written.
MODULES = tuple(_FORMS)


def to_module(
    form: str,
    plan: Plan,
    recipe: Schedule | None = None,
    *,
    ignore_batch: bool = False,
    ignore_momentum: bool = False,
) -> str:
    """Return the text of a Python file.

    Args:
        form: one of `MODULES`.
        plan: a schedule drawn for a budget.
        recipe: the schedule, for the file's docstring.
        ignore_batch: True to leave a growing batch to the data loader; otherwise it is an error.
        ignore_momentum: True to leave out a varying momentum that the framework cannot set.

    Raises:
        RequestError: the framework cannot set a part of the plan.
    """
    made = _FORMS[form]
    check_plan(plan, ignore_batch=ignore_batch, ignore_momentum=ignore_momentum or made.momentum)
    varying, tail = varying_momentum(plan), made.tail
    source = None if recipe is None else closed_form(recipe, plan)
    imports, bodies = _read(made.sources if source is None else (*made.sources, _VALUES))
    columns = {"LR": plan.lr.tolist()}
    if made.momentum or (form == "optax" and varying):
        columns["MOMENTUM"] = varying
    if source is None:
        numbers = [_tables(columns)]
    else:
        imports = "import math\n" + imports
        numbers = [f"\n{source}", bodies.pop(), _values(columns)]
    if form == "optax" and varying:
        tail += "momentum = planned(MOMENTUM)\n"
    if form == "transformers":
        tail += _arguments(recipe, len(plan))
    docstring = _docstring(recipe, plan, made.usage)
    return "\n".join([docstring, imports, *numbers, *bodies, tail])


def _docstring(recipe: Schedule | None, plan: Plan, usage: str) -> str:
    parts = [f"Learning rates of {len(plan)} steps, written by lrsearch."]
    if recipe is not None:
        parts.append(textwrap.fill(repr(recipe), WIDTH, subsequent_indent="    "))
    if plan.momentum[0] and not varying_momentum(plan):
        parts.append(
            f"Searched with momentum (beta1) {plan.momentum[0]!r}; use it in the optimizer."
        )
    parts.append(textwrap.dedent(usage).rstrip())
    return '"""' + "\n\n".join(parts) + '\n"""\n'


def _read(sources: Sequence[str]) -> tuple[str, list[str]]:
    """Return the imports of files without lrsearch's own, and their classes and functions."""
    plain: set[str] = set()
    named: dict[str, set[str]] = {}
    bodies = []
    for name in sources:
        text = Path(__file__).with_name(name).read_text(encoding="utf-8")
        lines = text.splitlines()
        for node in ast.parse(text).body:
            if isinstance(node, ast.Import):
                plain |= {ast.unparse(ast.Import([alias])) for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                if node.module.partition(".")[0] != "lrsearch":
                    named.setdefault(node.module, set()).update(a.name for a in node.names)
            elif isinstance(node, ast.ClassDef | ast.FunctionDef):
                first = min(part.lineno for part in (node, *node.decorator_list))
                bodies.append("\n" + "\n".join(lines[first - 1 : node.end_lineno]) + "\n")
    froms = [f"from {m} import {', '.join(sorted(names))}" for m, names in named.items()]
    lines = [*sorted(plain), *sorted(froms)]
    own = [line for line in lines if line.split()[1].partition(".")[0] in sys.stdlib_module_names]
    others = [line for line in lines if line not in own]
    return "\n".join([*own, "", *others]) + "\n", bodies


def _tables(tables: Mapping[str, Sequence[float]]) -> str:
    """Return tuples of numbers in full precision, wrapped to the line width."""
    texts = []
    for name, numbers in tables.items():
        words = "".join(f"{number!r}, " for number in numbers)
        lines = textwrap.wrap(
            words, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
        )
        inside = "\n".join(["", *lines, ""]) if lines else ""
        texts.append(f"{name}: tuple[float, ...] = ({inside})")
    return "\n".join(["# fmt: off", *texts, "# fmt: on"]) + "\n"


def _values(columns: Mapping[str, Sequence[float]]) -> str:
    """Return the columns as functions of the step that act as tuples; an empty one stays empty."""
    functions = {"LR": "rate_at", "MOMENTUM": "momentum_at"}
    texts = [
        f"{name} = StepValues({functions[name]}, {len(column)})" if column else f"{name} = ()"
        for name, column in columns.items()
    ]
    return "\n" + "\n".join(texts) + "\n"


def _arguments(recipe: Schedule | None, steps: int) -> str:
    """Return the arguments of transformers' own scheduler, if it has the shape."""
    words = None if recipe is None else transformers_arguments(recipe, steps)
    if words is None:
        return (
            "\n\n# get_scheduler of transformers does not have this shape.\nGET_SCHEDULER = None\n"
        )
    note = "# Arguments of get_scheduler of transformers; its warmup is one step late."
    shown = re.sub(r"(?<=[^,{])(?=\n *})", ",", json.dumps(words, indent=4))
    return f"\n\n{note}\nGET_SCHEDULER = {shown}\n"
