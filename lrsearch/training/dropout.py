"""Dropout whose masks are a function of a run's seed and step.

torch's own dropout draws from one generator for all runs, so the mask of a run would depend on the
other runs. Here a mask is a hash of (seed, step, layer, position): the same in any slot, alone or
in a population, on any device.
"""

from __future__ import annotations

from torch import Tensor, arange, nn

#: Odd constants of the 32-bit finaliser `lowbias32` (Wellons 2018), used in int64 arithmetic.
MULTIPLIERS = (0x7FEB352D, 0x846CA68B)
WORD = 0xFFFFFFFF


class Key:
    """The random state that all dropout layers of a model share.

    Attributes:
        value: an int64 scalar that identifies the run and the step.
    """

    value: Tensor | int = 0


def mix(x: Tensor) -> Tensor:
    """Apply a bijection of 32-bit words; each input bit flips about half of the output bits."""
    x = x & WORD
    x = ((x ^ (x >> 16)) * MULTIPLIERS[0]) & WORD
    x = ((x ^ (x >> 15)) * MULTIPLIERS[1]) & WORD
    return x ^ (x >> 16)


class KeyedDropout(nn.Module):
    """`nn.Dropout` with a mask that depends only on the key, the layer and the position.

    Args:
        p: probability that an element is zeroed.
        layer: index of the layer in the model.
        key: the key that all layers of the model share.
    """

    def __init__(self, p: float, layer: int, key: Key) -> None:
        super().__init__()
        self.p, self.layer, self.key = p, layer, key

    def forward(self, x: Tensor) -> Tensor:
        """Zero elements and scale the others by 1/(1-p) in training mode; else return `x`."""
        if not self.training or self.p == 0:
            return x
        if self.p == 1:
            return x * 0.0
        place = arange(x.numel(), device=x.device).view(x.shape)
        word = mix(mix(place + self.layer * 0x9E3779B9) ^ self.key.value)
        return x * (word >= round(self.p * 2**32)).to(x.dtype) / (1 - self.p)


def key_dropout(model: nn.Module) -> Key:
    """Replace every `nn.Dropout` of a model in place, and return the key of the new layers."""
    key, layer = Key(), 0
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, KeyedDropout(child.p, layer, key))
                layer += 1
    return key
