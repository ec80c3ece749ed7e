"""The search: the loop that runs trials, seed pruning, the comparison's plan and its run."""
