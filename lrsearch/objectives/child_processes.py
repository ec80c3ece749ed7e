"""Processes that a run has started, which are ended if the run is interrupted."""

from __future__ import annotations

import contextlib
import multiprocessing

import psutil

#: Seconds that a process has to end after SIGTERM, before it is killed.
PATIENCE = 3.0


def child_processes() -> set[psutil.Process]:
    """Return the processes that this process has started and that still run."""
    return set(psutil.Process().children())


def end_child_processes(before: set[psutil.Process]) -> int:
    """End the child processes that are not in a set, with all processes that these have started.

    Daemonic processes of `multiprocessing`, such as the workers of a pool, are left to Python,
    which ends them when this process ends: a pool starts a new worker for each that ends earlier.

    Args:
        before: the child processes that are left alone.

    Returns:
        The number of processes that were ended.
    """
    kept = {child.pid for child in multiprocessing.active_children() if child.daemon}
    found: list[psutil.Process] = []
    for child in child_processes() - before:
        try:
            # The helper of `multiprocessing` cleans up after the others, and then ends by itself.
            helper = "multiprocessing.resource_tracker" in " ".join(child.cmdline())
            if child.pid not in kept and not helper:
                found += [child, *child.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    end_processes(found)
    return len(found)


def end_processes(found: list[psutil.Process]) -> None:
    """End processes, first with SIGTERM, after `PATIENCE` seconds with SIGKILL."""
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(found, timeout=PATIENCE)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=PATIENCE)
