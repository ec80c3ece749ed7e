"""What a user names becomes an objective: a built-in one, `train.py:NAME`, a function, a task.

Code is loaded from what the command line or the caller names and from nowhere else, least of all
from a study.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from lrsearch.contract import Objective
from lrsearch.errors import LrsearchError, RequestError, closest
from lrsearch.failure import reason_of, trace_of
from lrsearch.objectives.builtin import check, make, make_trainer
from lrsearch.objectives.function import FunctionObjective, objective

if TYPE_CHECKING:
    from lrsearch.tasks.task import TorchTask


def is_reference(text: str) -> bool:
    """Whether a text names code of the user's: `FILE.py`, `FILE.py:NAME`, `module:NAME`."""
    return ":" in text or text.endswith(".py")


def split_reference(text: str) -> tuple[str, str, str]:
    """The file or module that a reference names, a colon, and the name in it, if it has one."""
    return text.rpartition(":") if ":" in text else (text, "", "")


def check_reference(text: str, options: Mapping[str, Any] | None) -> None:
    """Checks, without loading anything, what an objective's name says.

    Raises:
        RequestError: there is no such file, built-in objective or option.
    """
    if not is_reference(text):
        check(text, options)
        return
    source, _, name = split_reference(text)
    if source.endswith(".py") and not Path(source).is_file():
        raise RequestError(f"there is no file {source}; give FILE.py:NAME")
    if not source or (":" in text and not name.isidentifier()):
        raise RequestError(
            f"objective {text!r} is unreadable; give FILE.py:NAME or package.module:NAME"
        )


def find_objective(given: Any, options: Mapping[str, Any] | None, device: str) -> Objective:
    """An objective of whatever names or makes one.

    Args:
        given: a built-in one's name, `FILE.py:NAME`, `package.module:NAME`, a function, a
            `TorchTask` or a class of one, or an Objective.
        options: of a built-in objective, or fields of a class of tasks.
        device: where tasks train.

    Raises:
        RequestError: it is none of these, or cannot be loaded.
    """
    if isinstance(given, str) and not is_reference(given):
        return make(given, options, device=device)
    if isinstance(given, str):
        given = load_reference(given)
    if _is_task_class(given):
        return _trainer(_make_task(given, options or {}), device)
    if options:
        raise RequestError(
            "options are for built-in objectives and classes of tasks; give yours to its "
            "constructor"
        )
    if _is_task(given):
        return _trainer(given, device)
    if device != "auto":
        raise RequestError(f"an Objective chooses its own device; leave device {device} out")
    if isinstance(given, type) or (not callable(given) and not _is_objective(given)):
        raise RequestError(
            f"objective is {given!r}; give a built-in one's name, FILE.py:NAME, a function, a "
            "TorchTask or an Objective"
        )
    return cast(Objective, given if _is_objective(given) else objective(given))


def _trainer(task: TorchTask, device: str) -> Objective:
    """A task's objective; it is tried out on a few samples.

    Raises:
        RequestError: it raises something.
    """
    try:
        return make_trainer(task, device)
    except LrsearchError:
        raise
    except Exception as error:
        raise RequestError(
            f"task {task.name} fails when it is tried: {reason_of(error)}; run it by itself first",
            trace_of(error),
        ) from error


def load_reference(text: str) -> Any:
    """The object that `FILE.py:NAME`, `FILE.py` or `package.module:NAME` names.

    Raises:
        RequestError: it cannot be imported, or holds no such name.
    """
    check_reference(text, None)
    source, _, name = split_reference(text)
    module = _import(source)
    known = [key for key, value in vars(module).items() if _is_own(value, module)]
    if not name and len(known) != 1:
        listed = ", ".join(known) or "none; decorate a function with @lrsearch.objective"
        raise RequestError(f"{source} has {len(known)} objectives: {listed}; give {source}:NAME")
    if name and not hasattr(module, name):
        raise RequestError(f"{source} has no {name!r}{closest(name, known)}")
    return getattr(module, name or known[0])


def _import(source: str) -> ModuleType:
    path = Path(source)
    folder = str(path.parent.absolute()) if source.endswith(".py") else os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)  # so that the file finds its neighbours
    try:
        return _import_file(path) if source.endswith(".py") else importlib.import_module(source)
    except LrsearchError:
        raise
    except (Exception, SystemExit) as error:  # a user's file may raise anything
        raise _explain(source, error) from error


def _import_file(path: Path) -> ModuleType:
    """Imports a file under its own name, unless another module has it."""
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path.absolute()):
        return known
    if known is not None or name in sys.stdlib_module_names or not name.isidentifier():
        name = f"lrsearch_user_{name}"
    spec = importlib.util.spec_from_file_location(name, path.absolute())
    if spec is None or spec.loader is None:
        raise RequestError(f"{path} is no Python file; give FILE.py:NAME")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _explain(source: str, error: BaseException) -> RequestError:
    """Where an import failed, in one line, and the user's own part of the traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "importlib" not in f.filename and f.filename != __file__]
    place = f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
    if isinstance(error, SyntaxError):
        place = f" at {error.filename}:{error.lineno}"
    text = " ".join(str(error).split())
    if isinstance(error, SystemExit):
        return RequestError(
            f"{source} ends with sys.exit({text}) when it is imported; put what starts its own "
            "training below `if __name__ == '__main__':`"
        )
    details = "".join(["Traceback (most recent call last):\n", *traceback.format_list(own)])
    return RequestError(
        f"cannot import {source}: {type(error).__name__}: {text[:200]}{place}; run it with "
        "Python first",
        details if own else "",
    )


def _is_objective(given: Any) -> bool:
    return hasattr(given, "setup") and hasattr(given, "evaluate")


def _is_own(value: Any, module: ModuleType) -> bool:
    """Whether an object that a module holds is an objective made there."""
    if isinstance(value, FunctionObjective) or _is_task_class(value):
        return bool(value.__module__ == module.__name__)
    return _is_task(value)


def _is_task(given: object) -> TypeGuard[TorchTask]:
    """Whether an object is a `TorchTask`; who made one has loaded torch already."""
    if "torch" not in sys.modules:
        return False
    from lrsearch.tasks.task import TorchTask

    return isinstance(given, TorchTask)


def _is_task_class(given: object) -> TypeGuard[type[TorchTask]]:
    if "torch" not in sys.modules or not isinstance(given, type):
        return False
    from lrsearch.tasks.task import TorchTask

    return issubclass(given, TorchTask) and given is not TorchTask


def _make_task(kind: type[TorchTask], options: Mapping[str, Any]) -> TorchTask:
    """An instance of a class of tasks, in which options replace fields."""
    known = kind.__dataclass_fields__
    for name in options:
        if name not in known:
            raise RequestError(f"a TorchTask has no field {name!r}{closest(name, known)}")
    task = kind(**options)
    return dataclasses.replace(task, options={**task.options, **options})
