"""A population of training runs as one tensor program, with continuous batching.

The runs of a schedule search share architecture and data and differ in a few numbers per step, so
up to K of them are trained as one: parameters are stacked along a leading axis, the forward pass
is mapped over it (`torch.func.vmap`), and one backward pass of the summed losses yields every
member's gradient, because a member's loss depends only on its own parameters.

Slots are kept busy: when a run ends or diverges, the next run is pulled into its slot and starts
at its own step 0 while the others continue, as an inference server does with requests. The runs in
flight are always the first rows of the stack, so an empty slot costs nothing. Rates, data and
counters are kept on the device, and the host reads the losses only every few steps.

If steps are replayed as CUDA graphs, the slots are divided into cohorts of K/8. Runs are pulled
one cohort at a time, and rows without a run are computed to complete a cohort. Few graphs are
needed then, and runs of the same age are validated and measured together.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from lrsearch.contract import Probes, Runs
from lrsearch.errors import log
from lrsearch.outcome import Outcome
from lrsearch.run import Run
from lrsearch.tasks.task import TorchTask, validation_steps
from lrsearch.training.active_run import ActiveRun
from lrsearch.training.cuda_graphs import Capture, Recorder, Replay, fill_up, power_of_two
from lrsearch.training.data_order import TrainingData
from lrsearch.training.devices import Trouble, deliberate
from lrsearch.training.functional_task import FunctionalTask
from lrsearch.training.landscape_view import LandscapeView
from lrsearch.training.norms import name_norms
from lrsearch.training.slot_tensors import SlotTensors

#: Steps between two reads of the losses, each of which synchronises a GPU with the host.
LOOK_UPDATES = {"cpu": 8, "cuda": 32}
#: Number of cohorts into which the slots are divided if steps are replayed.
COHORTS = 8


class Population:
    """A population with K slots on one device.

    Args:
        task: the task that is trained.
        slots: K, the largest number of runs in flight; halved if the device runs out of memory.
        device: device to train on.
        paddable: True if each sample's loss depends on that sample alone, so batches may be
            padded.
    """

    def __init__(
        self, task: TorchTask, slots: int, device: torch.device, *, paddable: bool = True
    ) -> None:
        self._task, self._device, self._paddable = task, device, paddable
        self._samples = TrainingData(task.train, device, independent=task.independent)
        self._program = FunctionalTask(task, device)
        self._probes = Probes()
        self._view: LandscapeView | None = None
        self._members: list[ActiveRun] = []
        self._waiting: list[Run] = []
        self._norms: list[tuple[list[int], list[ActiveRun], Tensor]] = []
        # A dataset is read on the host, which cannot be captured.
        graphs = device.type == "cuda" and isinstance(task.train, tuple)
        self._record: Capture | None = Recorder() if graphs else None
        self._replay = Replay(self._record)
        self._revalidate = Replay(self._record, "validation is")
        self._indices: dict[tuple[int, int], Tensor] = {}
        self._most = slots
        self._allocate(slots)

    def _allocate(self, slots: int) -> None:
        """Create the tensors of `slots` empty slots."""
        self._slots = slots
        self._stack = SlotTensors(self._task, self._program, self._samples, slots, self._device)

    @property
    def _cohort(self) -> int:
        """Number of runs that begin together; the number of computed rows is a multiple of it."""
        return max(1, self._slots // COHORTS) if self._replay.enabled else 1

    def train(self, runs: Runs) -> Iterator[Outcome]:
        """Pull runs while slots are free, and yield the outcome of each run when it ends."""
        self._probes = runs.probes
        if self._probes.looks:
            self._view = LandscapeView(
                self._task,
                self._probes,
                self._device,
                self._program.template,
                record=self._record,
                slots=self._slots,
            )
        while True:
            with deliberate(self._device):
                room = self._slots - len(self._members) - len(self._waiting)
                if room >= (self._cohort if self._members else 1):
                    self._waiting += runs.take(room)
                if not self._members and not self._waiting:
                    return
                trouble: Trouble | None = None
                try:
                    outcomes = self._advance()
                except Exception as error:  # noqa: BLE001  # a user's task may raise anything
                    trouble = Trouble.of(error)
                # After the `except` block, because the error keeps the tensors of the step alive.
                if trouble is not None:
                    outcomes = self._shrink(trouble)
            yield from outcomes

    def step(self) -> Tensor:
        """Admit waiting runs and do one step of all; return the losses before it, shape `[A]`."""
        self._admit_waiting()
        return self._step()

    def put(self, runs: list[Run]) -> None:
        """Add runs for `step`, which is used to time a step and to check a task."""
        self._waiting += runs

    def state(self) -> tuple[list[float], dict[str, Tensor]]:
        """Return the validation values of the runs in flight, and how their parameters changed.

        Returns:
            One value per run, and changes since the first step by name, each of shape `[A, ...]`.
        """
        rows = range(len(self._members))
        values = self._program.validate(self._stack.parameters, rows, self._revalidate)
        starts = zip(*(self._program.start(m.run.seed) for m in self._members), strict=True)
        changes = {
            name: parameter[: len(rows)] - torch.stack(start)
            for (name, parameter), start in zip(
                self._stack.parameters.items(), starts, strict=True
            )
        }
        return [values[row][0] for row in rows], changes

    def _shrink(self, trouble: Trouble) -> list[Outcome]:
        """Halve the slots after an error, and restart all runs in flight from their first step.

        With one slot, its run fails. If the error was not a lack of memory, the number of slots is
        then restored.

        Returns:
            The outcome of the failed run, or an empty list.
        """
        runs = sorted(
            [*(m.run for m in self._members), *self._waiting], key=lambda r: (r.trial, r.replicate)
        )
        self._members, self._norms, ended = [], [], []
        self._settle()
        slots, left = self._slots, max(1, self._slots // 2)
        if slots == 1:
            ended = [runs.pop(0).end("failed", reason=trouble.reason, details=trouble.details)]
            left = 1 if trouble.full else self._most
        for run in runs:
            run.restart()
        if trouble.full and not ended:
            self._most = left
            log.warning("out of memory with %d runs in flight; continuing with %d", slots, left)
        self._waiting = runs
        del self._stack
        self._replay.forget()
        self._revalidate.forget()
        if self._view is not None:
            self._view.forget(self._most)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        self._allocate(left)
        return ended

    def _admit_waiting(self) -> None:
        runs = self._waiting[: self._slots - len(self._members)]
        if not runs:
            return
        version, watched = self._stack.version, self._probes.looks
        self._stack.admit(runs, len(self._members), watched=watched)
        if self._stack.version != version:
            self._replay.forget()
        members = [
            ActiveRun(run, validation_steps(len(run.plan), self._task.evaluations)) for run in runs
        ]
        for member in members:
            member.ask(self._probes, self._task.samples)
        self._members += members
        del self._waiting[: len(runs)]
        self._settle()

    def _leave(self, rows: Sequence[int]) -> None:
        """Remove the members in these rows, and move the last members into the free rows."""
        if not rows:
            return
        left = len(self._members) - len(rows)
        to = sorted(row for row in rows if row < left)
        source = sorted({*range(left, len(self._members))} - {*rows})
        if to:
            self._stack.move(to, source)
            for row, last in zip(to, source, strict=True):
                self._members[row] = self._members[last]
        if self._cohort > 1:
            self._stack.rest(slice(left, len(self._members)))
        del self._members[left:]
        self._settle()

    def _settle(self) -> None:
        """Recompute what members in flight have in common, so that steps need not inspect each."""
        widths = {member.width for member in self._members}
        self._width = widths.pop() if len(widths) == 1 else None
        self._rests = any(member.rests for member in self._members)
        self._norms_wanted = any(member.norms for member in self._members)

    def _advance(self) -> list[Outcome]:
        """Do a few steps of all members, up to the next check of one; return new outcomes."""
        began = time.perf_counter()
        self._admit_waiting()
        updates = min(LOOK_UPDATES[self._device.type], *(m.until_check for m in self._members))
        losses = torch.stack([self._step() for _ in range(updates)]).T.tolist()
        self._flush_norms()
        stops = [m.report(seen) for m, seen in zip(self._members, losses, strict=True)]
        stopped = {row: stop for row, stop in enumerate(stops) if stop is not None}
        going = [(row, m) for row, m in enumerate(self._members) if row not in stopped]
        due = [row for row, m in going if not m.left or m.done in m.checks]
        values = self._program.validate(self._stack.parameters, due, self._revalidate)
        share = (time.perf_counter() - began) / len(self._members)
        watching, self._stack.watching = self._stack.watching / len(self._members), 0.0
        for member in self._members:
            member.seconds += share
            member.probing += watching
        self._look([(row, m) for row, m in going if m.done in m.agenda])
        for row, (value, _) in values.items():
            self._members[row].keep(self._members[row].done - 1, {"val_loss": value})
        ended = sorted({*stopped, *(row for row in due if not self._members[row].left)})
        outcomes = [
            self._members[row].end(stopped[row].state, reason=str(stopped[row]))
            if row in stopped
            else self._members[row].finish(*values[row])
            for row in ended
        ]
        self._leave(ended)
        return outcomes

    def _flush_norms(self) -> None:
        """Add the norms of the last steps to the curves of their members."""
        for updates, members, norms in self._norms:
            for member, t, row in zip(members, updates, norms.tolist(), strict=True):
                member.keep(t, name_norms(row))
        self._norms.clear()

    def _look(self, due: list[tuple[int, ActiveRun]]) -> None:
        """Measure the landscape of members, together if the same parts of them are due."""
        if self._view is None:
            return
        for turn, parts in sorted({(m.turn, m.agenda[m.done]) for _, m in due}, key=repr):
            began = time.perf_counter()
            group = [(r, m) for r, m in due if (m.turn, m.agenda[m.done]) == (turn, parts)]
            rows, members = zip(*group, strict=True)
            index = torch.tensor(rows, device=self._device)
            last = [(m.run.plan, m.done - 1) for m in members]
            seen = self._view.look(
                [p[index] for p in self._stack.parameters.values()],
                parts,
                loss=self._program.around,
                batch=int(last[0][0].batch[0]),
                rate=[plan.lr[t] for plan, t in last],
                momentum=[plan.momentum[t] for plan, t in last],
                count=[t + 1 for _, t in last],
                turn=turn,
                squares=self._stack.updates.squares(index),
            )
            seconds = (time.perf_counter() - began) / len(members)
            for i, member in enumerate(members):
                member.keep(member.done - 1, {n: column[i] for n, column in seen.items()})
                member.seconds += seconds
                member.probing += seconds

    def _step(self) -> Tensor:
        """Do one step of every member; return the losses before it, shape `[A]`."""
        active, due, padded = len(self._members), list[int](), self._widths()
        if self._norms_wanted:
            due = [row for row, m in enumerate(self._members) if m.done in m.norms]
        if len(set(padded)) == 1:
            # The results of rows without a run are not used.
            rows = min(self._slots, -(-active // self._cohort) * self._cohort)
            step = partial(
                self._stack.update, slice(0, rows), padded[0], self._watched(due), self._rests
            )
            key = (rows, padded[0], self._rests, "first")
            losses = self._replay.run(key, step, self._stack.written).double()[:active]
        else:
            losses = torch.empty(active, dtype=torch.float64, device=self._device)
            for width in sorted(set(padded)):
                group = [row for row, own in enumerate(padded) if own == width]
                index, count = self._index(group, width), len(group)
                watched = self._watched([i for i, row in enumerate(group) if row in due])
                step = partial(self._stack.update, index, width, watched, self._rests)
                key = (len(index), width, self._rests, "some")
                seen = self._replay.run(key, step, self._stack.written)
                losses[index[:count]] = seen[:count].double()
        if due:
            members = [self._members[row] for row in due]
            norms = self._stack.watch.norms[torch.tensor(due, device=self._device)]
            self._norms.append(([m.done for m in members], members, norms))
        for member in self._members:
            member.done += 1
        return losses

    def _widths(self) -> list[int]:
        """Return the padded batch sizes of the next step: one for all, or one per member."""
        if self._width is not None:
            return [self._width]
        if not self._paddable:
            return [m.width or m.run.plan.batch[m.done] for m in self._members]
        # Powers of two keep both the padding and the number of groups small. They depend on the
        # run alone, because its rounding must not depend on the other runs.
        return [m.width or power_of_two(m.run.plan.batch[m.done]) for m in self._members]

    def _index(self, group: list[int], width: int) -> Tensor:
        """Return the rows of a step; for graphs, pad them to a power of two with the last row."""
        if not self._replay.enabled:
            return torch.tensor(group, device=self._device)
        size = power_of_two(len(group))
        if (size, width) not in self._indices:
            self._indices[size, width] = torch.zeros(size, dtype=torch.int64, device=self._device)
        return self._indices[size, width].copy_(torch.tensor(fill_up(group, size)))

    def _watched(self, due: list[int]) -> slice | Tensor | None:
        """Return the members of a step whose norms are computed.

        On a GPU these are all members, because a graph cannot choose.
        """
        if self._device.type == "cuda":
            return slice(None) if self._probes.looks else None
        return torch.tensor(due) if due else None
