"""Views of a study for people: MLflow, or nothing."""
