"""Synthetic difference-in-differences: weights of units and periods, effects, errors by resampling."""
