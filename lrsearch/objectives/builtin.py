"""The built-in objectives: their names, their options, and where to find them.

An objective's own module is imported only when it is wanted, so that a list of names costs nothing
and torch is loaded by those who train.
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
        default: its value where none is given.
        bound: what it may be.
        about: one line for people, with the unit.
    """

    default: Any
    bound: Bound
    about: str


@dataclass(frozen=True, kw_only=True)
class BuiltIn:
    """An objective that ships with lrsearch.

    Attributes:
        about: what it is, for people.
        options: by name.
        module, factory: what makes it, called with a value for every option.
        trains: whether that is a `TorchTask`, so that it has a device and slots.
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
        about="what momentum does; without momentum both are SGD",
    ),
    "form": Option(
        default="torch",
        bound=Bound(kind="name", names=("torch", "classical")),
        about="whether the rate stands outside the momentum buffer (torch) or inside",
    ),
    "weight_decay": Option(
        default=0.0, bound=Bound(low=0), about="coefficient of the parameters in the gradient"
    ),
    "ema": Option(
        default=0.0,
        bound=Bound(low=0, high=1, open_high=True),
        about="a moving average of the iterates, whose loss is reported; 0 is none",
    ),
}


def _modes(default: int) -> Option:
    return Option(
        default=default,
        bound=Bound(kind="int", low=2, high=1_000_000),
        about="number of eigenvalues",
    )


def _folder(about: str) -> Option:
    return Option(default=".", bound=Bound(kind="text"), about=f"the folder {about}")


def _gpt(*, width: int, layers: int, context: int) -> dict[str, Option]:
    return {
        "width": Option(
            default=width,
            bound=Bound(kind="int", low=32, high=8192),
            about="of the residual stream, a multiple of 32",
        ),
        "layers": Option(
            default=layers, bound=Bound(kind="int", low=1, high=256), about="transformer blocks"
        ),
        "context": Option(
            default=context, bound=Bound(kind="int", low=8, high=65_536), about="bytes a sample"
        ),
    }


BUILT_IN: Mapping[str, BuiltIn] = MappingProxyType(
    {
        "digits": BuiltIn(
            about="Handwritten digits of scikit-learn: an MLP on 8 x 8 images, held-out loss.",
            options={
                "hidden": Option(
                    default=64,
                    bound=Bound(kind="int", low=1, high=4096),
                    about="units in each of the two hidden layers",
                ),
                "held_out": Option(
                    default=0.3,
                    bound=Bound(low=0.05, high=0.9),
                    about="fraction of the images that training does not see",
                ),
                "weight_decay": Option(
                    default=0.0,
                    bound=Bound(low=0),
                    about="coefficient of the parameters in the gradient",
                ),
            },
            module="lrsearch.tasks.digits",
            factory="digits",
            trains=True,
        ),
        "digits-cnn": BuiltIn(
            about="The digits again: a small convolutional network by Adam, held-out loss.",
            options={
                "channels": Option(
                    default=8,
                    bound=Bound(kind="int", low=1, high=1024),
                    about="of the first convolution; the second has twice as many",
                )
            },
            module="lrsearch.tasks.images",
            factory="digits_cnn",
            trains=True,
        ),
        "python-lm": BuiltIn(
            about="A small GPT on bytes of Python's own standard library, nats per byte.",
            options=_gpt(width=128, layers=2, context=64),
            module="lrsearch.tasks.text",
            factory="python_lm",
            trains=True,
        ),
        "linear-regression": BuiltIn(
            about="LR-ref with true minibatches: the proxy `quadratic` as a training run.",
            options={"modes": _modes(256)},
            module="lrsearch.tasks.toys",
            factory="linear_regression",
            trains=True,
        ),
        "two-moons": BuiltIn(
            about="Two interleaved half circles and a tiny model, to teach with.",
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
            about="CIFAR-10 from a folder: a CNN of 1.07 million parameters by Adam.",
            options={"data": _folder("of the binary version, cifar-10-batches-bin")},
            module="lrsearch.tasks.images",
            factory="cifar10",
            trains=True,
        ),
        "wikitext103": BuiltIn(
            about="WikiText-103 from a folder: a small GPT on its bytes, nats per byte.",
            options={
                "data": _folder("of wiki.train.raw and wiki.valid.raw"),
                **_gpt(width=256, layers=4, context=256),
            },
            module="lrsearch.tasks.text",
            factory="wikitext103",
            trains=True,
        ),
        "quadratic": BuiltIn(
            about="LR-ref, exact: SGD on least squares, gradient noise in proportion to the loss.",
            options={"modes": _modes(256), **_OPTIMIZER},
            module="lrsearch.objectives.proxy",
            factory="multiplicative",
        ),
        "convex-bound": BuiltIn(
            about="A schedule scored without training: the convex bound on its last iterate.",
            options={
                "distance": Option(
                    default=1.0,
                    bound=Bound(low=0, open_low=True),
                    about="D, from the start to a minimum",
                ),
                "gradient": Option(
                    default=1.0,
                    bound=Bound(low=0, open_low=True),
                    about="G, the bound on gradient norms",
                ),
            },
            module="lrsearch.objectives.convex_bound",
            factory="convex_bound_objective",
        ),
        "quadratic-additive": BuiltIn(
            about="The noisy quadratic model, exact: SGD with gradient noise of fixed size.",
            options={"modes": _modes(256), **_OPTIMIZER},
            module="lrsearch.objectives.proxy",
            factory="additive",
        ),
    }
)


def check(name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A value for every option of a built-in objective.

    Args:
        name: a key of `BUILT_IN`.
        options: values of its options; the rest take their defaults.

    Raises:
        RequestError: there is no such objective or option, or a value is out of range.
    """
    if name not in BUILT_IN:
        raise RequestError(
            f"there is no objective {name!r}{closest(name, BUILT_IN)}; or your own, FILE.py:NAME"
        )
    if not isinstance(options, Mapping | None):
        raise RequestError(f"options is {options!r}; give a mapping of names to values")
    known, given = BUILT_IN[name].options, dict(options or {})
    for key in given:
        if key not in known:
            raise RequestError(f"objective {name} has no option {key!r}{closest(str(key), known)}")
    return {
        key: option.bound.check(key, given.get(key, option.default))
        for key, option in known.items()
    }


def check_device(text: Any) -> str:
    """Returns the device that `--device` names; whether it is there only torch can tell.

    Raises:
        RequestError: it is none of `auto`, `cpu`, `cuda` and `cuda:N`.
    """
    if not isinstance(text, str) or not DEVICE.fullmatch(text):
        raise RequestError(f"device is {text!r}; give auto, cpu, cuda or cuda:N")
    return text


def make(
    name: str, options: Mapping[str, Any] | None = None, *, device: str = "auto"
) -> Objective:
    """A built-in objective.

    Args:
        name: a key of `BUILT_IN`.
        options: values of its options; the rest take their defaults.
        device: where a task trains: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        RequestError: there is no such objective, option or device, or a value is out of range.
    """
    values, spec = check(name, options), BUILT_IN[name]
    check_device(device)
    if not spec.trains and device not in ("auto", "cpu"):
        raise RequestError(
            f"objective {name} is computed by NumPy on the CPU; leave device {device} out"
        )
    made = getattr(importlib.import_module(spec.module), spec.factory)(**values)
    return make_trainer(made, device) if spec.trains else cast(Objective, made)


def make_trainer(task: TorchTask, device: str = "auto") -> Objective:
    """A task as an objective.

    Args:
        task: what is trained.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        RequestError: there is no such device.
    """
    from lrsearch.training.devices import find_device
    from lrsearch.training.trainer import Trainer  # torch, for those who train

    return Trainer(task, device=find_device(check_device(device)))
