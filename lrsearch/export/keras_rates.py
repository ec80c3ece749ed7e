"""Keras: a `LearningRateSchedule` with a table of rates."""

from collections.abc import Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="lrsearch")
class PlannedRate(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule with the learning rate of every step in float32; the last rate stays.

    Args:
        lr: learning rate of every step, shape `[T]`.
    """

    def __init__(self, lr: Sequence[float]) -> None:
        self.lr = list(lr)
        self._table = keras.ops.convert_to_tensor(self.lr, dtype="float32")

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of the step with this index."""
        index = keras.ops.minimum(keras.ops.cast(step, "int32"), len(self.lr) - 1)
        return keras.ops.take(self._table, index)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration that is saved with a model."""
        return {"lr": self.lr}
