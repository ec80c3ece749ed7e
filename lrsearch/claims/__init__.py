"""What a textbook chapter on schedules says: each statement an experiment with a verdict."""
