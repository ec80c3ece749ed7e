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
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from lrsearch.contract import Run, Runs
from lrsearch.objectives.devices import deliberate, is_out_of_memory
from lrsearch.objectives.dropout import key_dropout, mix
from lrsearch.objectives.graphs import Replay, capture
from lrsearch.objectives.member import Member
from lrsearch.objectives.samples import Samples
from lrsearch.objectives.task import TorchTask, rungs
from lrsearch.objectives.updates import At, make_updates
from lrsearch.objectives.wrapped import Wrapped, clip_members, mean_over_samples, summed_loss
from lrsearch.result import Outcome

__all__ = ["Population"]

#: Updates between two looks at the losses, each a synchronisation on a GPU.
LOOK = {"cpu": 8, "cuda": 32}
#: Members whose validation is computed at once.
EVALUATED = {"cpu": 1, "cuda": 16}

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
        model = task.model(torch.Generator().manual_seed(0)).to(device)
        self._key = key_dropout(model)
        self._template = model
        self._loss = Wrapped(model, task.loss)
        self._metrics = None if task.metrics is None else Wrapped(model, task.metrics)
        self._validation = tuple(t.to(device) for t in task.validation or ())
        named = dict(model.named_parameters())
        self._names = [name for name, p in named.items() if p.requires_grad]
        self._frozen = {
            **{n: p.detach() for n, p in named.items() if not p.requires_grad},
            **dict(model.named_buffers()),
        }
        self._starts: dict[int, list[Tensor]] = {}
        self._members: list[Member] = []
        self._waiting: list[Run] = []
        # A dataset is read on the host, which no graph can hold.
        graphs = device.type == "cuda" and isinstance(task.train, tuple)
        self._replay = Replay(capture if graphs else None)
        self._allocate(slots)

    def _allocate(self, slots: int) -> None:
        """Makes room for so many members, all of them empty."""
        named, device = dict(self._template.named_parameters()), self._device
        self._slots = slots
        self._replay.forget()
        self._parameters = {
            n: named[n].detach().expand(slots, *named[n].shape).clone() for n in self._names
        }
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
        while True:
            with deliberate(self._device):
                room = self._slots - len(self._members) - len(self._waiting)
                if room > 0:
                    self._waiting += runs.take(room)
                if not self._members and not self._waiting:
                    return
                try:
                    outcomes = self._advance()
                except RuntimeError as error:
                    if not is_out_of_memory(error):
                        raise
                    outcomes = self._shrink()
            yield from outcomes

    def step(self) -> Tensor:
        """One update of every member that waits or is in flight; losses before it, `[A]`."""
        self._admit_waiting()
        return self._step()

    def put(self, runs: list[Run]) -> None:
        """Adds runs for `step`, which tries out what a step costs."""
        self._waiting += runs

    def _shrink(self) -> list[Outcome]:
        """After running out of memory: half as many in flight, each from its update 0 again."""
        members, self._members = self._members, []
        if self._slots == 1:
            runs = [*(m.run for m in members), *self._waiting]
            first, self._waiting = runs[0], runs[1:]
            return [first.end("failed", reason="out of memory with one run in flight")]
        runs = sorted(
            [*(m.run for m in members), *self._waiting], key=lambda r: (r.trial, r.replicate)
        )
        for run in runs:
            run.restart()
        self._waiting = runs
        slots, half = self._slots, max(1, self._slots // 2)
        self._parameters, self._tables = {}, {}
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        self._allocate(half)
        log.warning("out of memory with %d runs in flight; going on with %d", slots, half)
        return []

    def _admit_waiting(self) -> None:
        while self._waiting and len(self._members) < self._slots:
            self._admit(self._waiting[0])
            self._waiting.pop(0)

    def _admit(self, run: Run) -> None:
        row, plan, updates = len(self._members), run.plan, len(run.plan)
        for name, value in zip(self._names, self._start(run.seed), strict=True):
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
        self._members.append(Member(run, checks=rungs(updates, self._task.evaluations)))

    def _start(self, seed: int) -> list[Tensor]:
        """The initial parameters of a seed."""
        if seed not in self._starts:
            model = self._task.model(torch.Generator().manual_seed(seed)).to(self._device)
            key_dropout(model)
            named = dict(model.named_parameters())
            self._starts[seed] = [named[name].detach() for name in self._names]
        return self._starts[seed]

    def _advance(self) -> list[Outcome]:
        """A few updates of all members, up to the first that ends or is evaluated."""
        began = time.perf_counter()
        self._admit_waiting()
        look = LOOK[self._device.type]
        updates = min(look, *(member.until_check for member in self._members))
        losses = torch.stack([self._step() for _ in range(updates)]).T.tolist()
        stopped = {}
        for row, (member, seen) in enumerate(zip(self._members, losses, strict=True)):
            stop = member.report(seen)
            if stop is not None:
                stopped[row] = stop
        due = [
            row
            for row, m in enumerate(self._members)
            if row not in stopped and (not m.left or m.done in m.checks)
        ]
        values = self._validate(due) if due else {}
        share = (time.perf_counter() - began) / len(self._members)
        for member in self._members:
            member.seconds += share
        outcomes = []
        for row in sorted({*stopped, *due}, reverse=True):
            member = self._members[row]
            if row in stopped:
                outcomes.append(member.end(stopped[row].state, reason=str(stopped[row])))
            else:
                value, figures = values[row]
                member.checked.append((member.done - 1, value))
                if member.left:
                    continue
                for name, figure in figures.items():
                    member.run.note(name, figure)
                outcomes.append(member.end("finished", value))
            self._leave(row)
        return outcomes[::-1]

    def _leave(self, row: int) -> None:
        """Moves the last member into a row that has become free."""
        last = len(self._members) - 1
        if row != last:
            moved = [*self._parameters.values(), *self._updates.state.values()]
            for tensor in [*moved, *self._tables.values(), self._t, self._order, self._seed]:
                tensor[row] = tensor[last]
            self._members[row] = self._members[last]
        self._members.pop()

    def _step(self) -> Tensor:
        """One update of every member; their losses before it, shape `[A]`."""
        active = len(self._members)
        widths = [int(m.run.plan.batch[m.done]) for m in self._members]
        if len(set(widths)) == 1:
            key = (active, widths[0], self._has_rests())
            step = partial(self._step_rows, slice(0, active), widths[0])
            losses = self._replay.run(key, step, self._written).double()
        else:
            losses = torch.empty(active, dtype=torch.float64, device=self._device)
            # Padded to powers of two, so that neither waste nor the number of groups is large.
            padded = widths
            if self._paddable:
                padded = [1 << (width - 1).bit_length() for width in widths]
            for width in sorted(set(padded)):
                members = [row for row, own in enumerate(padded) if own == width]
                rows = torch.tensor(members, device=self._device)
                losses[rows] = self._step_rows(rows, width).double()
        for member in self._members:
            member.done += 1
        return losses

    def _written(self) -> list[Tensor]:
        """What a step writes."""
        return [*self._parameters.values(), *self._updates.state.values(), self._t]

    def _step_rows(self, rows: slice | Tensor, width: int) -> Tensor:
        """One update of some members, their batches padded to one width."""
        t = self._t[rows]
        now = {n: table[rows].gather(1, t[:, None])[:, 0] for n, table in self._tables.items()}
        batch = self._samples.take(self._order[rows], now["begin"], width)
        place = torch.arange(width, device=self._device)
        inside = place < now["batch"][:, None]
        values = [self._parameters[name][rows].detach() for name in self._names]
        leaves = [value.requires_grad_() for value in values]
        weight = inside.to(leaves[0].dtype) / now["batch"][:, None]
        key = mix(mix(t) ^ self._seed[rows])
        self._template.train()
        total = vmap(self._member_loss)(tuple(leaves), batch, weight, key)
        gradients = torch.autograd.grad(total.sum(), leaves)
        with torch.no_grad():
            values = [leaf.detach() for leaf in leaves]
            clip_members(gradients, self._task.clip)
            at = At(rows, now["rate"], now["momentum"], t + 1, self._has_rests())
            self._updates.apply(self._names, values, gradients, at)
            if not isinstance(rows, slice):
                for name, value in zip(self._names, values, strict=True):
                    self._parameters[name][rows] = value
            self._t[rows] += 1
        return total.detach()

    def _has_rests(self) -> bool:
        """Whether a momentum in flight is 0 at times and not at others."""
        return any(member.rests for member in self._members)

    def _member_loss(
        self, values: tuple[Tensor, ...], batch: Any, weight: Tensor, key: Tensor
    ) -> Tensor:
        """One member's mean loss; mapped over all of them."""
        self._key.value = key
        losses: Tensor = self._call(self._loss, values, batch)
        return summed_loss(losses, weight)

    def _call(self, wrapped: Wrapped, values: tuple[Tensor, ...], batch: Any) -> Any:
        replaced = {**dict(zip(self._names, values, strict=True)), **self._frozen}
        state = {f"model.{name}": value for name, value in replaced.items()}
        if self._task.precision == "float32":
            return functional_call(wrapped, state, (batch,))
        with torch.autocast(self._device.type, dtype=torch.bfloat16):
            output = functional_call(wrapped, state, (batch,))
        return output.float() if isinstance(output, Tensor) else output

    def _validate(self, rows: list[int]) -> dict[int, tuple[float, Mapping[str, float]]]:
        """Value and figures of members that have ended."""
        self._template.eval()
        if self._task.evaluate is not None:
            return {row: (self._evaluate_alone(row, self._task.evaluate), {}) for row in rows}
        found: dict[int, tuple[float, Mapping[str, float]]] = {}
        together = EVALUATED[self._device.type]
        for begin in range(0, len(rows), together):
            block = rows[begin : begin + together]
            # Always as many, the last repeated: the arithmetic must not depend on how many end.
            index = [*block, *[block[-1]] * (together - len(block))]
            sums = self._validate_block(torch.tensor(index, device=self._device))
            for i, row in enumerate(block):
                figures = {name: float(total[i]) for name, total in sums.items()}
                found[row] = (figures.pop(""), figures)
        return found

    @torch.no_grad()
    def _validate_block(self, index: Tensor) -> dict[str, Tensor]:
        """Means over the validation samples, shape `[A]` each; the value under the name ''."""
        values = tuple(self._parameters[name][index] for name in self._names)

        def member(values: tuple[Tensor, ...], batch: Any) -> dict[str, Tensor]:
            numbers = {"": self._call(self._loss, values, batch)}
            if self._metrics is not None:
                numbers |= self._call(self._metrics, values, batch)
            return {name: n.double().mean() for name, n in numbers.items()}

        return mean_over_samples(member, values, self._validation)

    def _evaluate_alone(self, row: int, evaluate: Callable[[nn.Module], float]) -> float:
        """The task's own evaluation of a module of its own."""
        model = self._task.model(torch.Generator().manual_seed(0)).to(self._device)
        named = dict(model.named_parameters())
        with torch.no_grad():
            for name in self._names:
                named[name].copy_(self._parameters[name][row])
        model.eval()
        return float(evaluate(model))
