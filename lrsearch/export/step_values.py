"""Values of a schedule that are computed when they are read, in place of a table."""

from collections.abc import Callable, Sequence
from typing import Any


class StepValues(Sequence[float]):
    """The values of a function at the steps 0 … n-1, which acts as a tuple of them.

    Args:
        function: function of the step.
        steps: n, the number of steps.
    """

    def __init__(self, function: Callable[[int], float], steps: int) -> None:
        self._function, self._steps = function, range(steps)

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, step: Any) -> Any:
        if isinstance(step, slice):
            return tuple(map(self._function, self._steps[step]))
        return self._function(self._steps[step])
