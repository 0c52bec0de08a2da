"""Mixed proportional hazards with a discrete joint mixing distribution: the mathematics."""
