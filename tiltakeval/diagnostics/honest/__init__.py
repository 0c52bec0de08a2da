"""How far results before and after treatment hold where trends aren't parallel. Imports nothing."""
