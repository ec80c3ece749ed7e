"""The device that trains a task: its choice, its threads and its memory."""

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

#: Number of parameters above which one run uses several CPU cores well (measured: a second thread
#: speeds up the small GPT with 438 000 parameters and slows down the digits' MLP with 9 000).
FILLS_CORES = 200_000


def find_device(text: str) -> torch.device:
    """Return the device of a name.

    Args:
        text: `cpu`, `cuda`, `cuda:N`, or `auto` for the first GPU, or the CPU if there is no GPU.

    Raises:
        RequestError: torch does not see this device.
    """
    if text == "auto":
        text = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(text)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RequestError(f'device is {text}, but torch sees no GPU; use `device="cpu"`')
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RequestError(
            f"device is {text}, but torch sees {torch.cuda.device_count()} GPUs, numbered from "
            "cuda:0; choose one of them"
        )
    return device


def describe_device(device: torch.device) -> str:
    """Return a readable name of a device, such as `cuda:0 NVIDIA H100`."""
    if device.type == "cpu":
        return "cpu"
    return f"cuda:{device.index or 0} {torch.cuda.get_device_name(device)}"


def own_randomness(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Make a context that restores the state of torch's own generators when it exits."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Set the seed of torch's generators, from which some layers draw; restore them on exit."""
    with own_randomness(device):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def deliberate(device: torch.device, parameters: int = 0) -> Iterator[None]:
    """Select a device; on a CPU, use one thread unless a single run is large.

    Small matrices are slower on several threads, ten times slower if the cores are busy.

    Args:
        device: device to compute on.
        parameters: number of parameters of a run that is trained alone; 0 for a population.
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
    """Return True if the error is a failed allocation of memory by torch."""
    # The CPU's allocator raises a plain RuntimeError.
    said = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return said or isinstance(error, torch.OutOfMemoryError)


@dataclass(frozen=True)
class Trouble:
    """The information that is kept of an error raised by a task.

    The error itself is dropped, because its frames keep their tensors in memory.

    Attributes:
        full: True if the device is out of memory.
        reason, details: texts for the outcome of a run that fails with this error alone on the
            device.
    """

    full: bool
    reason: str
    details: str

    @classmethod
    def of(cls, error: Exception) -> Trouble:
        """Return the part of an error that is kept."""
        if is_out_of_memory(error):
            return cls(True, "out of memory with one run in flight", "")
        return cls(False, reason_of(error), trace_of(error))


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a device, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")


def peak_bytes(device: torch.device) -> int:
    """Return the peak memory of this process so far, on the GPU or on the host, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(device))
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
