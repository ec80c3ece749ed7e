"""The search itself: Optuna chooses schedules, an objective answers, the storage remembers.

`request` checks what was asked for and loads nothing heavy; `search` is the one loop; `sampling`
chooses; `storage` remembers. None of it knows torch or MLflow.
"""
