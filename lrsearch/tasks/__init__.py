"""The built-in tasks, and what a task is."""
