"""Where a task trains: the device, its threads, and what is left of its memory."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from lrsearch.errors import RequestError
from lrsearch.failure import reason_of, trace_of

#: Parameters from which one run alone keeps several CPU cores busy (measured: the small GPT of
#: 438 000 gains from a second thread, the digits' MLP of 9 000 loses).
FILLS_CORES = 200_000


def find_device(text: str) -> torch.device:
    """The device of `auto`, `cpu`, `cuda` or `cuda:N`; `auto` is the first GPU, if there is one.

    Raises:
        RequestError: torch sees no such device.
    """
    if text == "auto":
        text = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(text)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RequestError(f"device is {text}, but torch sees no GPU; give --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RequestError(
            f"device is {text}, but torch sees {torch.cuda.device_count()} GPUs; begin at cuda:0"
        )
    return device


def describe_device(device: torch.device) -> str:
    """Its name for people, such as `cuda:0 NVIDIA H100`."""
    if device.type == "cpu":
        return "cpu"
    return f"cuda:{device.index or 0} {torch.cuda.get_device_name(device)}"


def own_randomness(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """What is drawn from torch's own generators within is not felt outside."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


@contextlib.contextmanager
def deliberate(device: torch.device, parameters: int = 0) -> Iterator[None]:
    """Computes on this device, on a CPU with one thread unless one run fills the cores.

    Small matrices lose on several threads, tenfold where the cores are busy.

    Args:
        device: where.
        parameters: of a run that is trained alone; 0 for a population.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            yield
        return
    before = torch.get_num_threads()
    if parameters <= FILLS_CORES:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def is_out_of_memory(error: Exception) -> bool:
    """Whether torch could not allocate what it needed."""
    # What the CPU's allocator says has no class of its own.
    said = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return said or isinstance(error, torch.OutOfMemoryError)


@dataclass(frozen=True)
class Trouble:
    """What is kept of an error of a task. The error itself holds all that its frames allocated.

    Attributes:
        full: whether the device is out of memory.
        reason, details: of a run that fails for it, alone on the device.
    """

    full: bool
    reason: str
    details: str

    @classmethod
    def of(cls, error: Exception) -> Trouble:
        """What is to be kept of it."""
        if is_out_of_memory(error):
            return cls(True, "out of memory with one run in flight", "")
        return cls(False, reason_of(error), trace_of(error))


def free_bytes(device: torch.device) -> int:
    """Memory that is free on a device now."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")


def peak_bytes(device: torch.device) -> int:
    """The most memory that was in use on a device, or by this process, so far."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(device))
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, else in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
