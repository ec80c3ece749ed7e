"""Dropout whose masks are a function of a run's seed and update.

torch's own dropout draws from one generator for all, so what a run drops would depend on its
neighbours. Here a mask is a hash of (seed, update, layer, position): the same in any slot, alone
or in a population, on any device.
"""

from __future__ import annotations

from torch import Tensor, arange, nn

#: Odd constants of the 32-bit finaliser `lowbias32` (Wellons 2018), within int64 arithmetic.
MULTIPLIERS = (0x7FEB352D, 0x846CA68B)
WORD = 0xFFFFFFFF


class Key:
    """What all dropout layers of a model read.

    Attributes:
        value: an int64 scalar that names run and update.
    """

    value: Tensor | int = 0


def mix(x: Tensor) -> Tensor:
    """A bijection of 32-bit words in which every input bit moves half of the output's."""
    x = x & WORD
    x = ((x ^ (x >> 16)) * MULTIPLIERS[0]) & WORD
    x = ((x ^ (x >> 15)) * MULTIPLIERS[1]) & WORD
    return x ^ (x >> 16)


class KeyedDropout(nn.Module):
    """`nn.Dropout` with a mask that its key decides.

    Args:
        p: the fraction that is dropped.
        layer: tells the layers of a model apart.
        key: shared by all layers.
    """

    def __init__(self, p: float, layer: int, key: Key) -> None:
        super().__init__()
        self.p, self.layer, self.key = p, layer, key

    def forward(self, x: Tensor) -> Tensor:
        """Drops in training mode, and scales what stays by 1/(1-p)."""
        if not self.training or self.p == 0:
            return x
        if self.p == 1:
            return x * 0.0
        place = arange(x.numel(), device=x.device).view(x.shape)
        word = mix(mix(place + self.layer * 0x9E3779B9) ^ self.key.value)
        return x * (word >= round(self.p * 2**32)).to(x.dtype) / (1 - self.p)


def key_dropout(model: nn.Module) -> Key:
    """Replaces every `nn.Dropout` of a model in place, and returns their key."""
    key, layer = Key(), 0
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, KeyedDropout(child.p, layer, key))
                layer += 1
    return key
