"""Whom to offer what: values of assignment rules, policy trees, capacity, fairness. Decision support."""
