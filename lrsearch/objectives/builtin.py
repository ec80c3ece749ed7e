"""The built-in objectives: names, options and modules.

The module of an objective is imported only when it is used, so listing names is fast and torch is
loaded only for training.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from lrsearch.bounds import Bound
from lrsearch.contract import Objective
from lrsearch.errors import RequestError, closest

if TYPE_CHECKING:
    from lrsearch.tasks.task import TorchTask

DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]+)?")


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option of an objective, set with `--with NAME=VALUE`.

    Attributes:
        default: its default value.
        bound: allowed values.
        about: one-line description with the unit.
    """

    default: Any
    bound: Bound
    about: str


@dataclass(frozen=True, kw_only=True)
class BuiltIn:
    """An objective that ships with lrsearch.

    Attributes:
        about: one-line description.
        options: options by name.
        module, factory: module and function that make it, from a value for every option.
        trains: True if it is a `TorchTask`, which has a device and slots.
    """

    about: str
    options: Mapping[str, Option]
    module: str
    factory: str
    trains: bool = False


_OPTIMIZER = {
    "method": Option(
        default="heavy_ball",
        bound=Bound(kind="name", names=("heavy_ball", "nesterov")),
        about="kind of momentum; without momentum both are SGD",
    ),
    "form": Option(
        default="torch",
        bound=Bound(kind="name", names=("torch", "classical")),
        about="torch: learning rate outside the momentum buffer; classical: inside",
    ),
    "weight_decay": Option(default=0.0, bound=Bound(low=0), about="weight decay (L2 coefficient)"),
    "ema": Option(
        default=0.0,
        bound=Bound(low=0, high=1, open_high=True),
        about="decay of an average of the iterates, whose loss is reported; 0 for none",
    ),
}


def _modes(default: int) -> Option:
    return Option(
        default=default,
        bound=Bound(kind="int", low=2, high=1_000_000),
        about="number of eigenvalues",
    )


def _folder(about: str) -> Option:
    return Option(default=".", bound=Bound(kind="text"), about=f"folder {about}")


def _gpt(*, width: int, layers: int, context: int) -> dict[str, Option]:
    return {
        "width": Option(
            default=width,
            bound=Bound(kind="int", low=32, high=8192),
            about="width of the residual stream, a multiple of 32",
        ),
        "layers": Option(
            default=layers,
            bound=Bound(kind="int", low=1, high=256),
            about="number of transformer blocks",
        ),
        "context": Option(
            default=context, bound=Bound(kind="int", low=8, high=65_536), about="bytes per sample"
        ),
    }


BUILT_IN: Mapping[str, BuiltIn] = MappingProxyType(
    {
        "digits": BuiltIn(
            about="scikit-learn's handwritten digits (8 x 8 images), an MLP, SGD; held-out loss.",
            options={
                "hidden": Option(
                    default=64,
                    bound=Bound(kind="int", low=1, high=4096),
                    about="units in each of the two hidden layers",
                ),
                "held_out": Option(
                    default=0.3,
                    bound=Bound(low=0.05, high=0.9),
                    about="fraction of the images for validation",
                ),
                "weight_decay": Option(
                    default=0.0,
                    bound=Bound(low=0),
                    about="weight decay (L2 coefficient)",
                ),
            },
            module="lrsearch.tasks.digits",
            factory="digits",
            trains=True,
        ),
        "digits-cnn": BuiltIn(
            about="The same digits, a small convolutional network, Adam; held-out loss.",
            options={
                "channels": Option(
                    default=8,
                    bound=Bound(kind="int", low=1, high=1024),
                    about="channels of the first convolution; the second has twice this number",
                )
            },
            module="lrsearch.tasks.images",
            factory="digits_cnn",
            trains=True,
        ),
        "python-lm": BuiltIn(
            about="A small GPT on the source code of Python's library, AdamW; nats per byte.",
            options=_gpt(width=128, layers=2, context=64),
            module="lrsearch.tasks.text",
            factory="python_lm",
            trains=True,
        ),
        "linear-regression": BuiltIn(
            about="Linear regression with minibatches: the problem of `quadratic`, trained.",
            options={"modes": _modes(256)},
            module="lrsearch.tasks.toys",
            factory="linear_regression",
            trains=True,
        ),
        "two-moons": BuiltIn(
            about="Two interleaved half circles and a tiny model, for teaching.",
            options={
                "hidden": Option(
                    default=8,
                    bound=Bound(kind="int", low=0, high=4096),
                    about="units of the hidden layer; 0 is a linear model",
                ),
                "noise": Option(
                    default=0.2,
                    bound=Bound(low=0, high=10),
                    about="standard deviation of the points around their half circle",
                ),
            },
            module="lrsearch.tasks.toys",
            factory="two_moons",
            trains=True,
        ),
        "cifar10": BuiltIn(
            about="CIFAR-10 from a folder: a CNN with 1.07 million parameters, Adam.",
            options={"data": _folder("with the binary version, cifar-10-batches-bin")},
            module="lrsearch.tasks.images",
            factory="cifar10",
            trains=True,
        ),
        "wikitext103": BuiltIn(
            about="WikiText-103 from a folder: a small GPT on its bytes; nats per byte.",
            options={
                "data": _folder("with wiki.train.raw and wiki.valid.raw"),
                **_gpt(width=256, layers=4, context=256),
            },
            module="lrsearch.tasks.text",
            factory="wikitext103",
            trains=True,
        ),
        "quadratic": BuiltIn(
            about="Exact: SGD on least squares; gradient noise proportional to the loss.",
            options={"modes": _modes(256), **_OPTIMIZER},
            module="lrsearch.objectives.proxy",
            factory="multiplicative",
        ),
        "convex-bound": BuiltIn(
            about="No training: the convex bound on the last iterate of a schedule.",
            options={
                "distance": Option(
                    default=1.0,
                    bound=Bound(low=0, open_low=True),
                    about="D, distance from the start to a minimum",
                ),
                "gradient": Option(
                    default=1.0,
                    bound=Bound(low=0, open_low=True),
                    about="G, bound on gradient norms",
                ),
            },
            module="lrsearch.objectives.convex_bound",
            factory="convex_bound_objective",
        ),
        "quadratic-additive": BuiltIn(
            about="Exact: SGD on the noisy quadratic model; gradient noise of constant size.",
            options={"modes": _modes(256), **_OPTIMIZER},
            module="lrsearch.objectives.proxy",
            factory="additive",
        ),
    }
)


def check(name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a value for every option of a built-in objective.

    Args:
        name: a key of `BUILT_IN`.
        options: values of its options; other options have their defaults.

    Raises:
        RequestError: there is no such objective or option, or a value is out of range.
    """
    if name not in BUILT_IN:
        raise RequestError(
            f"there is no objective {name!r}{closest(name, BUILT_IN)}; give FILE.py:NAME for your "
            "own"
        )
    if not isinstance(options, Mapping | None):
        raise RequestError(f"`options=` is {options!r}; give a mapping of names to values")
    known, given = BUILT_IN[name].options, dict(options or {})
    for key in given:
        if key not in known:
            raise RequestError(f"objective {name} has no option {key!r}{closest(str(key), known)}")
    return {
        key: option.bound.check(key, given.get(key, option.default))
        for key, option in known.items()
    }


def check_device(text: Any) -> str:
    """Check the name of a device without loading torch; the device need not exist.

    Raises:
        RequestError: it is not `auto`, `cpu`, `cuda` or `cuda:N`.
    """
    if not isinstance(text, str) or not DEVICE.fullmatch(text):
        raise RequestError(f"device is {text!r}; give auto, cpu, cuda or cuda:N")
    return text


def make(
    name: str, options: Mapping[str, Any] | None = None, *, device: str = "auto"
) -> Objective:
    """Make a built-in objective.

    Args:
        name: a key of `BUILT_IN`.
        options: values of its options; other options have their defaults.
        device: device of a task: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        RequestError: there is no such objective, option or device, or a value is out of range.
    """
    values, spec = check(name, options), BUILT_IN[name]
    check_device(device)
    if not spec.trains and device not in ("auto", "cpu"):
        raise RequestError(
            f"objective {name} is computed by NumPy on the CPU; leave out `device='{device}'`"
        )
    made = getattr(importlib.import_module(spec.module), spec.factory)(**values)
    return make_trainer(made, device) if spec.trains else cast(Objective, made)


def make_trainer(task: TorchTask, device: str = "auto") -> Objective:
    """Make an objective from a task.

    Args:
        task: the task that is trained.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        RequestError: there is no such device.
    """
    from lrsearch.training.devices import find_device
    from lrsearch.training.trainer import Trainer  # loads torch

    return Trainer(task, device=find_device(check_device(device)))
