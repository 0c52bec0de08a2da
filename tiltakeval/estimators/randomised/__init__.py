"""Estimators for randomised assignment, and plain regressions: arms compared as they are."""
