"""Statements of a textbook chapter on schedules, each tested by an experiment with a verdict."""
