"""Several workers as one objective: processes on this machine or actors on a Ray cluster."""
