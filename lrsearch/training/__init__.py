"""How a task is trained: as a population of runs at once, or one run at a time."""
