"""Array functions behind the estimators: arrays in by keyword, small frozen results out."""
