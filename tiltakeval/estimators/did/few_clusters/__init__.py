"""Inference where few clusters are treated."""
