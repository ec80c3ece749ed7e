"""Diagnostics of trials: of the schedule, of the curves, and of the loss landscape.

Diagnostics explain results. They are not objectives: sharpness at the end of a run mostly reflects
its final rate, and correlates poorly with generalisation across rates.
`lrsearch.diagnostics.names` lists all diagnostics with their known pitfalls.
"""
