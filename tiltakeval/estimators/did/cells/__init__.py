"""One cohort in one period: units sorted, fits shared between cells, weights, leverage."""
