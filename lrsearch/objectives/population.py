"""A population of training runs as one tensor program, with continuous batching.

The runs of a schedule search share architecture and data and differ in a few numbers an update,
so up to K of them are trained as one: parameters are stacked along a leading axis, the forward
pass is mapped over it (`torch.func.vmap`), and one backward pass of the summed losses yields every
member's gradient, because a member's loss depends on no parameter but its own.

Every slot is kept busy: a run that ends or diverges leaves, and the next is pulled in at once at
its own update 0 while the others go on, as an inference server does with requests. The runs in
flight are always the first rows of the stack, so an empty slot costs nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from lrsearch.contract import Run, Runs
from lrsearch.errors import RunStopped
from lrsearch.objectives.dropout import key_dropout, mix
from lrsearch.objectives.samples import Samples
from lrsearch.objectives.task import TorchTask
from lrsearch.objectives.updates import At, make_updates
from lrsearch.result import Outcome

__all__ = ["Population", "deliberate_threads", "summed_loss"]

#: Updates between two looks at the losses; a run that diverges is stopped at most so many late.
LOOK = 8
#: Members whose validation is computed at once, and validation samples at a time.
EVALUATED, VALIDATION_ROWS = 4, 1024


@contextlib.contextmanager
def deliberate_threads(device: torch.device) -> Iterator[None]:
    """One thread on a CPU: small matrices lose on several, tenfold where the cores are busy."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class _Member:
    """A run in flight; its place in the list is its row in the stack."""

    run: Run
    done: int = 0
    seconds: float = 0.0
    rests: bool = field(init=False)

    def __post_init__(self) -> None:
        momentum = self.run.plan.momentum
        self.rests = bool(momentum.any() and not momentum.all())

    @property
    def left(self) -> int:
        """Updates to go."""
        return len(self.run.plan) - self.done


class _Wrapped(nn.Module):
    """The task's loss as a module's forward pass, so that its parameters can be replaced."""

    def __init__(self, model: nn.Module, call: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.model = model
        self._call = call

    def forward(self, batch: Any) -> Any:
        return self._call(self.model, batch)


def summed_loss(losses: Tensor, weight: Tensor) -> Tensor:
    """The mean loss of one member's batch: Σ weight·loss, or a mean that the task took itself."""
    if losses.dim() == 0:
        return losses
    # A padded sample has weight 0, and 0 times an infinite loss would be NaN.
    return torch.where(weight > 0, losses * weight, 0.0).sum()


class Population:
    """K slots on one device.

    Args:
        task: what is trained.
        slots: K, the most runs in flight.
        device: where.
        paddable: whether a sample's loss is its own, so that batches may be padded.
    """

    def __init__(
        self, task: TorchTask, slots: int, device: torch.device, *, paddable: bool = True
    ) -> None:
        self._task = task
        self._paddable = paddable
        self._slots = slots
        self._device = device
        self._samples = Samples(task.train, device, independent=task.independent)
        model = task.model(torch.Generator().manual_seed(0)).to(device)
        self._key = key_dropout(model)
        self._template = model
        self._loss = _Wrapped(model, task.loss)
        self._metrics = None if task.metrics is None else _Wrapped(model, task.metrics)
        self._validation = tuple(t.to(device) for t in task.validation or ())
        named = dict(model.named_parameters())
        self._names = [name for name, p in named.items() if p.requires_grad]
        stack = {n: p.detach().expand(slots, *p.shape).clone() for n, p in named.items()}
        self._parameters = {name: stack[name] for name in self._names}
        self._frozen = {
            **{n: p.detach() for n, p in named.items() if not p.requires_grad},
            **dict(model.named_buffers()),
        }
        self._updates = make_updates(task, self._parameters)
        self._starts: dict[int, list[Tensor]] = {}
        self._members: list[_Member] = []
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
            with deliberate_threads(self._device):
                for run in runs.take(self._slots - len(self._members)):
                    self._admit(run)
                if not self._members:
                    return
                outcomes = self._advance()
            yield from outcomes

    def _admit(self, run: Run) -> None:
        row, plan, updates = len(self._members), run.plan, len(run.plan)
        self._members.append(_Member(run))
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
            table[row, :updates] = column.to(self._device)
        self._t[row] = 0
        self._seed[row] = run.seed
        self._order[row] = self._samples.row(run.seed, plan.samples, int(plan.batch[0]))

    def _start(self, seed: int) -> list[Tensor]:
        """The initial parameters of a seed."""
        if seed not in self._starts:
            model = self._task.model(torch.Generator().manual_seed(seed)).to(self._device)
            key_dropout(model)
            named = dict(model.named_parameters())
            self._starts[seed] = [named[name].detach() for name in self._names]
        return self._starts[seed]

    def _advance(self) -> list[Outcome]:
        """A few updates of all members, up to the end of the first that ends."""
        began = time.perf_counter()
        updates = min(LOOK, *(member.left for member in self._members))
        losses = torch.stack([self._step() for _ in range(updates)]).T.tolist()
        stopped = {}
        for row, (member, seen) in enumerate(zip(self._members, losses, strict=True)):
            stop = _report(member, seen)
            if stop is not None:
                stopped[row] = stop
        finished = [r for r, m in enumerate(self._members) if not m.left and r not in stopped]
        values = self._validate(finished) if finished else {}
        share = (time.perf_counter() - began) / len(self._members)
        for member in self._members:
            member.seconds += share
        outcomes = []
        for row in sorted({*stopped, *finished}, reverse=True):
            run, seconds = self._members[row].run, self._members[row].seconds
            if row in stopped:
                stop = stopped[row]
                outcomes.append(run.end(stop.state, reason=str(stop), seconds=seconds))
            else:
                value, figures = values[row]
                for name, figure in figures.items():
                    run.note(name, figure)
                outcomes.append(run.end("finished", value, seconds=seconds))
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
            losses = self._step_rows(slice(0, active), widths[0]).double()
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
        self._t[:active] += 1
        for member in self._members:
            member.done += 1
        return losses

    def _step_rows(self, rows: slice | Tensor, width: int) -> Tensor:
        """One update of some members, their batches padded to one width."""
        t = self._t[rows]
        now = {name: self._column(table, rows, t) for name, table in self._tables.items()}
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
            self._clip(gradients)
            at = At(rows, now["rate"], now["momentum"], t + 1, self._has_rests())
            self._updates.apply(self._names, values, gradients, at)
            if not isinstance(rows, slice):
                for name, value in zip(self._names, values, strict=True):
                    self._parameters[name][rows] = value
        return total.detach()

    @staticmethod
    def _column(table: Tensor, rows: slice | Tensor, t: Tensor) -> Tensor:
        return table[rows].gather(1, t[:, None])[:, 0]

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

    def _call(self, wrapped: _Wrapped, values: tuple[Tensor, ...], batch: Any) -> Any:
        replaced = {**dict(zip(self._names, values, strict=True)), **self._frozen}
        state = {f"model.{name}": value for name, value in replaced.items()}
        if self._task.precision == "float32":
            return functional_call(wrapped, state, (batch,))
        with torch.autocast(self._device.type, dtype=torch.bfloat16):
            output = functional_call(wrapped, state, (batch,))
        return output.float() if isinstance(output, Tensor) else output

    def _clip(self, gradients: tuple[Tensor, ...]) -> None:
        """Scales every member's gradient to the task's norm, as `clip_grad_norm_` does."""
        if self._task.clip is None:
            return
        squares = [g.flatten(1).square().sum(1) for g in gradients]
        norm = torch.stack(squares).sum(0).sqrt()
        factor = (self._task.clip / (norm + 1e-6)).clamp(max=1.0)
        for g in gradients:
            g.mul_(factor.view(-1, *[1] * (g.dim() - 1)))

    def _validate(self, rows: list[int]) -> dict[int, tuple[float, Mapping[str, float]]]:
        """Value and figures of members that have ended."""
        self._template.eval()
        if self._task.evaluate is not None:
            return {row: (self._evaluate_alone(row, self._task.evaluate), {}) for row in rows}
        found: dict[int, tuple[float, Mapping[str, float]]] = {}
        for begin in range(0, len(rows), EVALUATED):
            block = rows[begin : begin + EVALUATED]
            # Always as many, the last repeated: the arithmetic must not depend on how many end.
            index = [*block, *[block[-1]] * (EVALUATED - len(block))]
            sums = self._validate_block(torch.tensor(index, device=self._device))
            for i, row in enumerate(block):
                figures = {name: float(total[i]) for name, total in sums.items()}
                found[row] = (figures.pop(""), figures)
        return found

    @torch.no_grad()
    def _validate_block(self, index: Tensor) -> dict[str, Tensor]:
        """Means over the validation samples, shape `[A]` each; the value under the name ''."""
        data = self._validation
        values = tuple(self._parameters[name][index] for name in self._names)
        samples, sums = len(data[0]), dict[str, Tensor]()

        def member(values: tuple[Tensor, ...], batch: Any) -> dict[str, Tensor]:
            numbers = {"": self._call(self._loss, values, batch)}
            if self._metrics is not None:
                numbers |= self._call(self._metrics, values, batch)
            return {name: n.double().mean() for name, n in numbers.items()}

        for begin in range(0, samples, VALIDATION_ROWS):
            part = tuple(t[begin : begin + VALIDATION_ROWS] for t in data)
            means = vmap(member, in_dims=(0, None))(values, part)
            for name, mean in means.items():
                sums[name] = sums.get(name, 0.0) + mean * (len(part[0]) / samples)
        return sums

    def _evaluate_alone(self, row: int, evaluate: Callable[[nn.Module], float]) -> float:
        """The task's own evaluation of a module of its own."""
        model = self._task.model(torch.Generator().manual_seed(0)).to(self._device)
        named = dict(model.named_parameters())
        with torch.no_grad():
            for name in self._names:
                named[name].copy_(self._parameters[name][row])
        model.eval()
        return float(evaluate(model))


def _report(member: _Member, losses: list[float]) -> RunStopped | None:
    """Tells a run its latest losses; what stopped it, if anything did."""
    begin = member.done - len(losses)
    try:
        for i, loss in enumerate(losses):
            member.run.report(begin + i, loss)
    except RunStopped as stop:
        return stop
    return None
