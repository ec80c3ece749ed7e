"""What is measured of every trial beside its value: of the schedule, its curves, its landscape.

Diagnostics explain; none is a hidden objective. Sharpness at the end of a run mostly mirrors its
final rate, and correlates poorly with generalisation across rates. `lrsearch.diagnostics.names`
lists all of them, with what each is known to mislead about.
"""
