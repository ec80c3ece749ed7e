"""Keras: a `LearningRateSchedule` that looks its rates up in a table."""

from collections.abc import Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="lrsearch")
class PlannedRate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of every update, in float32; after the last update its rate stays.

    Args:
        lr: rate of every update, shape `[T]`.
    """

    def __init__(self, lr: Sequence[float]) -> None:
        self.lr = list(lr)

    def __call__(self, step: Any) -> Any:
        """The rate of the update that so many went before."""
        table = keras.ops.convert_to_tensor(self.lr, dtype="float32")
        index = keras.ops.minimum(keras.ops.cast(step, "int32"), len(self.lr) - 1)
        return keras.ops.take(table, index)

    def get_config(self) -> dict[str, Any]:
        """What saving a model keeps."""
        return {"lr": self.lr}
