"""Language models on bytes: `python-lm`, on the source of Python's library, and `wikitext103`.

The text of `python-lm` is part of every Python installation, so this task needs no download. The
value is the cross-entropy in nats per byte on held-out text.
"""

from __future__ import annotations

import hashlib
import math
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lrsearch.errors import RequestError
from lrsearch.tasks.task import TorchTask

BYTES = 256
HEAD_SIZE = 32
#: Number of validation windows, spread evenly over the held-out text.
WINDOWS = 128
#: Largest numbers of bytes that are read of the standard library and of a file of WikiText.
PYTHON_BYTES, WIKI_BYTES = 4_000_000, 50_000_000


class Gpt(nn.Module):
    """A decoder-only transformer over bytes (Radford et al. 2019), pre-norm, tied embeddings.

    Args:
        width: width of the residual stream, a multiple of 32.
        layers: number of blocks.
        context: number of bytes in the context.
        generator: draws the initial weights from N(0, 0.02²); those of residual outputs are scaled
            by 1/√(2·layers).
    """

    def __init__(self, width: int, layers: int, context: int, generator: torch.Generator) -> None:
        super().__init__()
        self.embed = nn.Embedding(BYTES, width)
        self.place = nn.Parameter(torch.zeros(context, width))
        self.blocks = nn.ModuleList(_Block(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                residual = name.endswith(("out.weight", "down.weight"))
                deviation = 0.02 / math.sqrt(2 * layers) if residual else 0.02
                nn.init.normal_(parameter, 0.0, deviation, generator=generator)
            elif not name.endswith("norm.weight"):
                nn.init.zeros_(parameter)

    def forward(self, text: Tensor) -> Tensor:
        """Return logits of the next byte, shape `[..., L, 256]`, for bytes of shape `[..., L]`."""
        x = nn.functional.embedding(text, self.embed.weight) + self.place[: text.shape[-1]]
        for block in self.blocks:
            x = block(x)
        return nn.functional.linear(self.norm(x), self.embed.weight)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attend_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (-1, HEAD_SIZE)).transpose(-3, -2)
            for part in self.mix(self.attend_norm(x)).chunk(3, dim=-1)
        )
        # Written out, because torch's fused attention has no rule for `vmap`.
        scores = (q * HEAD_SIZE**-0.5) @ k.transpose(-2, -1)
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
        y = scores.masked_fill(future, -math.inf).softmax(-1) @ v
        x = x + self.out(y.transpose(-3, -2).flatten(-2))
        up: Tensor = self.up(self.feed_norm(x))
        down: Tensor = self.down(nn.functional.gelu(up))
        return x + down


def python_lm(*, width: int, layers: int, context: int) -> TorchTask:
    """Make the task `python-lm`: a small GPT on the source of Python's library, with AdamW.

    Args:
        width: width of the residual stream, a multiple of 32.
        layers: number of blocks.
        context: number of bytes in the context.

    Raises:
        RequestError: the width is not a multiple of 32, or this Python lacks the source of its
            library.
    """
    folder = Path(sysconfig.get_paths()["stdlib"])
    text = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))[:PYTHON_BYTES]
    if len(text) < 100 * WINDOWS * context:
        raise RequestError(
            f"{folder} has {len(text)} bytes of Python source, too few for a context of {context};"
            ' choose a smaller `options={"context": N}`'
        )
    split = len(text) * 9 // 10
    digest = hashlib.sha256(text).hexdigest()[:12]
    sizes = {"width": width, "layers": layers, "context": context}
    return _language_model("python-lm", text[:split], text[split:], sizes, {"text": digest})


def wikitext103(*, data: str, width: int, layers: int, context: int) -> TorchTask:
    """Make the task `wikitext103`: a small GPT on the bytes of WikiText-103, with AdamW.

    Args:
        data: folder with `wiki.train.raw` and `wiki.valid.raw` (or `.tokens`).
        width: width of the residual stream, a multiple of 32.
        layers: number of blocks.
        context: number of bytes in the context.

    Raises:
        RequestError: a file is missing, or the width is not a multiple of 32.
    """
    train, valid = (_read(Path(data), f"wiki.{part}") for part in ("train", "valid"))
    sizes = {"width": width, "layers": layers, "context": context}
    return _language_model("wikitext103", train, valid, sizes, {})


def _read(folder: Path, name: str) -> bytes:
    for ending in ("raw", "tokens"):
        path = folder / f"{name}.{ending}"
        if path.is_file():
            with path.open("rb") as file:
                return file.read(WIKI_BYTES)
    raise RequestError(
        f"{folder} has no {name}.raw or {name}.tokens; give the folder of WikiText-103 with "
        '`options={"data": FOLDER}`'
    )


def _language_model(
    name: str, train: bytes, valid: bytes, sizes: dict[str, int], more: dict[str, Any]
) -> TorchTask:
    width, layers, context = sizes["width"], sizes["layers"], sizes["context"]
    if width % HEAD_SIZE:
        raise RequestError(
            f"width is {width}; give a multiple of {HEAD_SIZE}, the size of an attention head"
        )
    return TorchTask(
        name=name,
        model=lambda generator: Gpt(width, layers, context, generator),
        loss=next_byte_loss,
        train=(_windows(train, context, name),),
        validation=(_spread(_windows(valid, context, name)),),
        optimizer="adamw",
        beta2=0.99,
        weight_decay=0.1,
        clip=1.0,
        steps=300,
        batch=8,
        peak=(1e-4, 3e-2),
        usual_peak=3e-3,
        unit="nats/byte",
        positive=True,
        untrained=math.log(BYTES),
        options={**sizes, **more},
    )


def next_byte_loss(model: Any, batch: tuple[Tensor]) -> Tensor:
    """Return the mean cross-entropy of the next byte in every window, in nats per byte."""
    text = batch[0].long()
    logits = model(text[..., :-1])
    target = text[..., 1:]
    losses = logits.logsumexp(-1) - logits.gather(-1, target[..., None])[..., 0]
    means: Tensor = losses.mean(-1)
    return means


def _windows(text: bytes, context: int, name: str) -> Tensor:
    """Split text into adjacent windows, shape `[N, context + 1]`, uint8."""
    length = context + 1
    whole = len(text) // length
    if not whole:
        raise RequestError(
            f"{name}: {len(text)} bytes of text do not fill a window of {length}; give more text, "
            'or choose a smaller `options={"context": N}`'
        )
    content = np.frombuffer(text, dtype=np.uint8)[: whole * length]
    return torch.from_numpy(content.reshape(whole, length).copy())


def _spread(windows: Tensor) -> Tensor:
    count = min(WINDOWS, len(windows))
    return windows[torch.arange(count) * len(windows) // count]
