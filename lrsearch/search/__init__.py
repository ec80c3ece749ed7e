"""The search: the loop that runs trials, seed pruning, and the comparison with baselines."""
