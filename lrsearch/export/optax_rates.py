"""optax: a schedule (a function of the step count) with a table of numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp


def planned(values: Sequence[float]) -> Callable[[Any], Any]:
    """Return a schedule in JAX's default float type; the last number stays.

    Args:
        values: number of every step, shape `[T]`.
    """
    table = jnp.asarray(tuple(values), dtype=float)
    return lambda count: table[jnp.minimum(count, len(table) - 1)]
