"""What works for whom: scores of units, effects by subgroup, tests, and who gains most and least."""
