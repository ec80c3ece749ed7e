"""Loading of objectives: built-in names, `train.py:NAME`, functions and tasks.

Code is loaded only from the place that the command line or the caller names, never from a study.
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
from lrsearch.objectives.command import Command, CommandObjective
from lrsearch.objectives.function import FunctionObjective, objective
from lrsearch.origin import origin_of

if TYPE_CHECKING:
    from lrsearch.tasks.task import TorchTask


def is_reference(text: str) -> bool:
    """Return True if a text names the user's code: `FILE.py`, `FILE.py:NAME`, `module:NAME`."""
    return ":" in text or text.endswith(".py")


def split_reference(text: str) -> tuple[str, str, str]:
    """Return the file or module of a reference, a colon, and the name in it, if there is one."""
    return text.rpartition(":") if ":" in text else (text, "", "")


def check_reference(text: str, options: Mapping[str, Any] | None) -> None:
    """Check the name of an objective without loading anything.

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
            f"objective {text!r} is not a valid name; give FILE.py:NAME or package.module:NAME"
        )


def find_objective(given: Any, options: Mapping[str, Any] | None, device: str) -> Objective:
    """Return the objective that a name or an object describes.

    Args:
        given: name of a built-in objective, `FILE.py:NAME`, `package.module:NAME`, a function, a
            `TorchTask` or a class of one, or an Objective.
        options: options of a built-in objective, or fields of a task class.
        device: device of tasks.

    Raises:
        RequestError: it is something else, or cannot be loaded.
    """
    if isinstance(given, str) and not is_reference(given):
        return make(given, options, device=device)
    if isinstance(given, str):
        given = load_reference(given)
    if _is_task_class(given):
        return _trainer(_make_task(given, options or {}), device)
    if options:
        raise RequestError(
            "`options=` applies to built-in objectives and task classes; give options of your own "
            "objective in its code"
        )
    if _is_task(given):
        return _trainer(given, device)
    if isinstance(given, Command):
        given = CommandObjective(given)
    if device != "auto":
        raise RequestError(
            f"your own objective chooses its device itself; leave out `device='{device}'`"
        )
    if isinstance(given, type) or (not callable(given) and not _is_objective(given)):
        raise RequestError(
            f"objective is {given!r}; give the name of a built-in objective, FILE.py:NAME, a "
            "function, a TorchTask or an Objective"
        )
    found = given if _is_objective(given) else objective(given)
    if isinstance(found, FunctionObjective):
        known = dataclasses.replace(found.setup, origin=origin_of(found.function))
        return FunctionObjective(found.function, known)
    return cast(Objective, found)


def _trainer(task: TorchTask, device: str) -> Objective:
    """Return a task's objective, after a few steps on a few samples.

    Raises:
        RequestError: the task raises an error in these steps.
    """
    try:
        return make_trainer(task, device)
    except LrsearchError:
        raise
    except Exception as error:
        raise RequestError(
            f"task {task.name} fails in its first steps: {reason_of(error)}; fix the task",
            trace_of(error),
        ) from error


def load_reference(text: str) -> Any:
    """Load the object that `FILE.py:NAME`, `FILE.py` or `package.module:NAME` names.

    Raises:
        RequestError: it cannot be imported, or has no such name.
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
        sys.path.insert(0, folder)  # so that the file can import its neighbours
    try:
        return _import_file(path) if source.endswith(".py") else importlib.import_module(source)
    except LrsearchError:
        raise
    except (Exception, SystemExit) as error:  # a user's file may raise anything
        raise _explain(source, error) from error


def _import_file(path: Path) -> ModuleType:
    """Import a file under its own name, unless another module has this name.

    Processes that the file starts import it again by this name, which need not be an identifier.
    """
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path.absolute()):
        return known
    if known is not None or name in sys.stdlib_module_names or "." in name:
        name = f"lrsearch_user_{name}"
    spec = importlib.util.spec_from_file_location(name, path.absolute())
    if spec is None or spec.loader is None:
        raise RequestError(f"{path} is not a Python file; give FILE.py:NAME")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _explain(source: str, error: BaseException) -> RequestError:
    """Return an error with the place of a failed import and the user's part of the traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "importlib" not in f.filename and f.filename != __file__]
    place = f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
    if isinstance(error, SyntaxError):
        place = f" at {error.filename}:{error.lineno}"
    text = " ".join(str(error).split())
    if isinstance(error, SystemExit):
        return RequestError(
            f"{source} calls sys.exit({text}) when it is imported; put the code that starts its "
            "training below `if __name__ == '__main__':`"
        )
    details = "".join(["Traceback (most recent call last):\n", *traceback.format_list(own)])
    return RequestError(
        f"cannot import {source}: {type(error).__name__}: {text[:200]}{place}; check it "
        "with Python first",
        details if own else "",
    )


def _is_objective(given: Any) -> bool:
    return hasattr(given, "setup") and hasattr(given, "evaluate")


def _is_own(value: Any, module: ModuleType) -> bool:
    """Return True if an object of a module is an objective that is defined there."""
    if isinstance(value, FunctionObjective) or _is_task_class(value):
        return bool(value.__module__ == module.__name__)
    return _is_task(value)


def _is_task(given: object) -> TypeGuard[TorchTask]:
    """Return True if an object is a `TorchTask`; then torch has been loaded already."""
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
    """Return an instance of a task class in which options replace fields."""
    known = kind.__dataclass_fields__
    for name in options:
        if name not in known:
            raise RequestError(f"a TorchTask has no field {name!r}{closest(name, known)}")
    task = kind(**options)
    return dataclasses.replace(task, options={**task.options, **options})
