"""Reports for people: figures, tables and pages made from released results only."""
