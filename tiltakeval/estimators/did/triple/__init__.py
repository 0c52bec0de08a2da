"""Triple differences: an eligible and an ineligible group, three comparisons to each effect."""
