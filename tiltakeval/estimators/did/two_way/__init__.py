"""Regressions with unit and period effects from small moment matrices."""
