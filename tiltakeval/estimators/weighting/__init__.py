"""Doubly robust and inverse-probability weighting for several programmes at once."""
