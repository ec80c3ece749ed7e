"""Trackers, which record a study for people: MLflow, or none."""
