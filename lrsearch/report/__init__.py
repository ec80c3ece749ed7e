"""Pictures, by matplotlib's object-oriented interface: no window, no global state."""
