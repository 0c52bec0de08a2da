"""Difference-in-differences under staggered roll-outs."""
