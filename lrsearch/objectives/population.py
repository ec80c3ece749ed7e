"""A population of training runs as one tensor program, with continuous batching.

The runs of a schedule search share architecture and data and differ in a few numbers an update,
so up to K of them are trained as one: parameters are stacked along a leading axis, the forward
pass is mapped over it (`torch.func.vmap`), and one backward pass of the summed losses yields every
member's gradient, because a member's loss depends on no parameter but its own.

Every slot is kept busy: a run that ends or diverges leaves, and the next is pulled in at once at
its own update 0 while the others go on, as an inference server does with requests. The runs in
flight are always the first rows of the stack, so an empty slot costs nothing. Rates, data and
counters live on the device, and the host looks at the losses only every few updates.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from lrsearch.contract import Probes, Run, Runs
from lrsearch.objectives.devices import deliberate, is_out_of_memory
from lrsearch.objectives.dropout import mix
from lrsearch.objectives.failure import reason_of, trace_of
from lrsearch.objectives.graphs import Replay, capture
from lrsearch.objectives.member import Member
from lrsearch.objectives.program import Program
from lrsearch.objectives.samples import Samples
from lrsearch.objectives.task import TorchTask, rungs
from lrsearch.objectives.updates import At, make_updates
from lrsearch.objectives.view import View
from lrsearch.objectives.watch import Watch, flatten
from lrsearch.objectives.wrapped import clip_members
from lrsearch.result import Outcome

__all__ = ["Population"]

#: Updates between two looks at the losses, each a synchronisation on a GPU.
LOOK = {"cpu": 8, "cuda": 32}

log = logging.getLogger("lrsearch")


class Population:
    """K slots on one device.

    Args:
        task: what is trained.
        slots: K, the most runs in flight; halved when the device runs out of memory.
        device: where.
        paddable: whether a sample's loss is its own, so that batches may be padded.
    """

    def __init__(
        self, task: TorchTask, slots: int, device: torch.device, *, paddable: bool = True
    ) -> None:
        self._task = task
        self._paddable = paddable
        self._device = device
        self._samples = Samples(task.train, device, independent=task.independent)
        self._program = Program(task, device)
        self._probes: Probes | None = None
        self._view: View | None = None
        self._members: list[Member] = []
        self._waiting: list[Run] = []
        self._norms: list[tuple[list[int], list[Member], Tensor]] = []
        self._watching = 0.0  # seconds since the last look; on a GPU only their launches
        # A dataset is read on the host, which no graph can hold.
        graphs = device.type == "cuda" and isinstance(task.train, tuple)
        self._replay = Replay(capture if graphs else None)
        self._most = slots
        self._allocate(slots)

    def _allocate(self, slots: int) -> None:
        """Makes room for so many members, all of them empty."""
        device = self._device
        self._slots = slots
        self._replay.forget()
        self._parameters = self._program.stack(slots)
        self._watch = Watch(slots, device)
        self._updates = make_updates(self._task, self._parameters)
        self._tables = {
            "rate": torch.zeros(slots, 0, device=device, dtype=torch.float64),
            "momentum": torch.zeros(slots, 0, device=device, dtype=torch.float64),
            "begin": torch.zeros(slots, 0, device=device, dtype=torch.int64),
            "batch": torch.zeros(slots, 0, device=device, dtype=torch.int64),
        }
        self._t = torch.zeros(slots, dtype=torch.int64, device=device)
        self._order = torch.zeros_like(self._t)
        self._seed = torch.zeros_like(self._t)

    def train(self, runs: Runs) -> Iterator[Outcome]:
        """Pulls runs while there is room, and yields each outcome as it ends."""
        if runs.probes.looks:
            self._probes = runs.probes
            self._view = View(self._task, self._probes, self._device, self._program.template)
        while True:
            with deliberate(self._device):
                room = self._slots - len(self._members) - len(self._waiting)
                if room > 0:
                    self._waiting += runs.take(room)
                if not self._members and not self._waiting:
                    return
                try:
                    outcomes = self._advance()
                except Exception as error:  # noqa: BLE001  # a user's task may raise anything
                    outcomes = self._shrink(error)
            yield from outcomes

    def step(self) -> Tensor:
        """One update of every member that waits or is in flight; losses before it, `[A]`."""
        self._admit_waiting()
        return self._step()

    def put(self, runs: list[Run]) -> None:
        """Adds runs for `step`, which tries out what a step costs."""
        self._waiting += runs

    def _shrink(self, error: Exception) -> list[Outcome]:
        """After running out of memory: half as many in flight, each from its update 0 again.

        After any other error of the task too, until the run that raises it is alone and fails.
        """
        full = is_out_of_memory(error)
        runs = sorted(
            [*(m.run for m in self._members), *self._waiting], key=lambda r: (r.trial, r.replicate)
        )
        self._members, self._norms, ended = [], [], []
        slots, left = self._slots, max(1, self._slots // 2)
        if slots == 1:
            reason = "out of memory with one run in flight" if full else reason_of(error)
            details = "" if full else trace_of(error)
            ended = [runs.pop(0).end("failed", reason=reason, details=details)]
            left = 1 if full else self._most
        for run in runs:
            run.restart()
        self._waiting, self._parameters, self._tables = runs, {}, {}
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        self._allocate(left)
        if full and not ended:
            self._most = left
            log.warning("out of memory with %d runs in flight; going on with %d", slots, left)
        return ended

    def _admit_waiting(self) -> None:
        while self._waiting and len(self._members) < self._slots:
            self._admit(self._waiting[0])
            self._waiting.pop(0)

    def _admit(self, run: Run) -> None:
        row, plan, updates = len(self._members), run.plan, len(run.plan)
        start = self._program.start(run.seed)
        for name, value in zip(self._parameters, start, strict=True):
            self._parameters[name][row] = value
        for state in self._updates.state.values():
            state[row] = 0
        batch = torch.from_numpy(plan.batch.copy())
        columns = {
            "rate": torch.from_numpy(plan.lr.copy()),
            "momentum": torch.from_numpy(plan.momentum.copy()),
            "begin": torch.cumsum(batch, 0) - batch,
            "batch": batch,
        }
        for name, column in columns.items():
            table = self._tables[name]
            if table.shape[1] < updates:
                wider = torch.zeros(self._slots, updates, dtype=table.dtype, device=self._device)
                wider[:, : table.shape[1]] = table
                self._tables[name] = table = wider
                self._replay.forget()
            table[row, :updates] = column.to(self._device)
        self._t[row] = 0
        self._seed[row] = run.seed
        version = self._samples.version
        self._order[row] = self._samples.row(run.seed, plan.samples, int(plan.batch[0]))
        if self._samples.version != version:
            self._replay.forget()
        member = Member(run, checks=rungs(updates, self._task.evaluations))
        if self._probes is not None:
            member.ask(self._probes, self._task.samples)
            if self._watch.admit(row, run.seed, start):
                self._replay.forget()
        self._members.append(member)

    def _advance(self) -> list[Outcome]:
        """A few updates of all members, up to the first that ends or is evaluated."""
        began = time.perf_counter()
        self._admit_waiting()
        look = LOOK[self._device.type]
        updates = min(look, *(member.until_check for member in self._members))
        losses = torch.stack([self._step() for _ in range(updates)]).T.tolist()
        self._flush_norms()
        stopped = {}
        for row, (member, seen) in enumerate(zip(self._members, losses, strict=True)):
            stop = member.report(seen)
            if stop is not None:
                stopped[row] = stop
        going = [(row, m) for row, m in enumerate(self._members) if row not in stopped]
        due = [row for row, m in going if not m.left or m.done in m.checks]
        values = self._program.validate(self._parameters, due)
        share = (time.perf_counter() - began) / len(self._members)
        for member in self._members:
            member.seconds += share
            member.probing += self._watching / len(self._members)
        self._watching = 0.0
        self._look([(row, m) for row, m in going if m.done in m.agenda])
        outcomes = []
        for row in sorted({*stopped, *due}, reverse=True):
            member = self._members[row]
            if row in stopped:
                outcomes.append(member.end(stopped[row].state, reason=str(stopped[row])))
            else:
                value, figures = values[row]
                member.keep("val_loss", member.done - 1, value)
                if member.left:
                    continue
                for name, figure in figures.items():
                    member.run.note(name, figure)
                outcomes.append(member.end("finished", value))
            self._leave(row)
        return outcomes[::-1]

    def _flush_norms(self) -> None:
        """Hands the norms of the last updates to the members that they are of."""
        for updates, members, norms in self._norms:
            for member, t, row in zip(members, updates, norms.tolist(), strict=True):
                member.keep_norms(t, row)
        self._norms.clear()

    def _look(self, due: list[tuple[int, Member]]) -> None:
        """Lets probes look at members, all those together of which they want the same."""
        if self._view is None:
            return
        for turn, parts in sorted({(m.turn, m.agenda[m.done]) for _, m in due}, key=repr):
            began = time.perf_counter()
            group = [(r, m) for r, m in due if (m.turn, m.agenda[m.done]) == (turn, parts)]
            rows, members = zip(*group, strict=True)
            index = torch.tensor(rows, device=self._device)
            last = [(m.run.plan, m.done - 1) for m in members]
            seen = self._view.look(
                [p[index] for p in self._parameters.values()],
                parts,
                loss=self._program.around,
                batch=int(last[0][0].batch[0]),
                rate=[float(plan.lr[t]) for plan, t in last],
                momentum=[float(plan.momentum[t]) for plan, t in last],
                count=[t + 1 for _, t in last],
                turn=turn,
                squares=self._updates.squares(index),
            )
            seconds = (time.perf_counter() - began) / len(members)
            for i, member in enumerate(members):
                member.keep_look({name: column[i] for name, column in seen.items()})
                member.seconds += seconds
                member.probing += seconds

    def _leave(self, row: int) -> None:
        """Moves the last member into a row that has become free."""
        last = len(self._members) - 1
        if row != last:
            moved = [*self._parameters.values(), *self._updates.state.values()]
            moved += [self._t, self._order, self._seed, self._watch.start]
            for tensor in [*moved, *self._tables.values()]:
                tensor[row] = tensor[last]
            self._members[row] = self._members[last]
        self._members.pop()

    def _step(self) -> Tensor:
        """One update of every member; their losses before it, shape `[A]`."""
        active = len(self._members)
        widths = [int(m.run.plan.batch[m.done]) for m in self._members]
        due = [row for row, m in enumerate(self._members) if m.done in m.norms]
        if len(set(widths)) == 1:
            key = (active, widths[0], self._has_rests())
            step = partial(self._step_rows, slice(0, active), widths[0], self._watched(due))
            losses = self._replay.run(key, step, self._written).double()
        else:
            losses = torch.empty(active, dtype=torch.float64, device=self._device)
            # Padded to powers of two, so that neither waste nor the number of groups is large.
            padded = widths
            if self._paddable:
                padded = [1 << (width - 1).bit_length() for width in widths]
            for width in sorted(set(padded)):
                group = [row for row, own in enumerate(padded) if own == width]
                rows = torch.tensor(group, device=self._device)
                watched = self._watched([i for i, row in enumerate(group) if row in due])
                losses[rows] = self._step_rows(rows, width, watched).double()
        if due:
            members = [self._members[row] for row in due]
            norms = self._watch.norms[torch.tensor(due, device=self._device)]
            self._norms.append(([m.done for m in members], members, norms))
        for member in self._members:
            member.done += 1
        return losses

    def _watched(self, due: list[int]) -> slice | Tensor | None:
        """The members of a step whose norms are taken: on a GPU all, for a graph has no choice."""
        if self._device.type == "cuda":
            return slice(None) if self._probes is not None else None
        return torch.tensor(due) if due else None

    def _written(self) -> list[Tensor]:
        """What a step writes."""
        state = self._updates.state
        return [*self._parameters.values(), *state.values(), self._t, self._watch.norms]

    def _step_rows(
        self, rows: slice | Tensor, width: int, watched: slice | Tensor | None
    ) -> Tensor:
        """One update of some members, their batches padded to one width."""
        t = self._t[rows]
        now = {n: table[rows].gather(1, t[:, None])[:, 0] for n, table in self._tables.items()}
        batch = self._samples.take(self._order[rows], now["begin"], width)
        place = torch.arange(width, device=self._device)
        inside = place < now["batch"][:, None]
        values = [value[rows].detach() for value in self._parameters.values()]
        leaves = [value.requires_grad_() for value in values]
        weight = inside.to(leaves[0].dtype) / now["batch"][:, None]
        total = self._program.train(leaves, batch, weight, mix(mix(t) ^ self._seed[rows]))
        gradients = torch.autograd.grad(total.sum(), leaves)
        with torch.no_grad():
            values = [leaf.detach() for leaf in leaves]
            clip_members(gradients, self._task.clip)
            before: Tensor | None = None
            if watched is not None:
                began = time.perf_counter()
                before = flatten([v[watched] for v in values])
                self._watching += time.perf_counter() - began
            at = At(rows, now["rate"], now["momentum"], t + 1, self._has_rests())
            self._updates.apply(self._program.names, values, gradients, at)
            if not isinstance(rows, slice):
                for value, parameter in zip(values, self._parameters.values(), strict=True):
                    parameter[rows] = value
            if watched is not None and before is not None:
                began = time.perf_counter()
                after, slope = (flatten([v[watched] for v in x]) for x in (values, gradients))
                self._watch.write(rows, watched, before, after, slope)
                self._watching += time.perf_counter() - began
            self._t[rows] += 1
        return total.detach()

    def _has_rests(self) -> bool:
        """Whether a momentum in flight is 0 at times and not at others."""
        return any(member.rests for member in self._members)
