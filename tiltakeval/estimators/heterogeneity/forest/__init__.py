"""Honest causal forests for several arms, grown from binned covariates."""
