"""Figures and reports, with matplotlib's object-oriented interface: no window, no global state."""
