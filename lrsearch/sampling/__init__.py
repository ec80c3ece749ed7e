"""Samplers: pure functions of the study's seed, the trial's index and past outcomes."""
