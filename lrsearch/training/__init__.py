"""Training of a task: many runs at once as a population, or one run at a time."""
