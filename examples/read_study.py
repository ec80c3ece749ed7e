"""Read an existing study and export its recommended schedule to JSON and CSV.

The script first runs the search `lrsearch tune quadratic` itself.
"""

from pathlib import Path

import lrsearch

lrsearch.tune("quadratic", trials=20, tracking_uri="none")

result = lrsearch.load("quadratic-default")
print(f"{result.study}: {result.counts}")
for trial in result.ranked[:5]:
    print(f"trial {trial.index:3d}  {trial.value:.5f}  {trial.schedule}")

for trial in result.trials:
    if trial.state == "diverged":
        print(f"trial {trial.index:3d}  {trial.reason}")

chosen = result.recommended
print(chosen.sentence)
Path("best.json").write_text(lrsearch.export.to_json(chosen.schedule))
Path("best.csv").write_text(lrsearch.export.to_csv(result.budget.plan(chosen.schedule)))
print("wrote best.json and best.csv")
