"""Synthetic register with known programme effects."""
