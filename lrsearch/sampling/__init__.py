"""What to try next: samplers, pure functions of the study's seed, the index and past outcomes."""
