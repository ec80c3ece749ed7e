"""Views of a study for people: MLflow, or nothing."""

import os

# Before any file of this room imports MLflow, which reads it then; a user's own choice stands.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
