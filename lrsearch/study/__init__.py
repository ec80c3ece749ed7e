"""Studies: their settings, their trials, and their storage in journals or databases."""
