"""Effects of a roll-out by the dose in which it reaches a unit."""
