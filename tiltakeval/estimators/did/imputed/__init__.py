"""Effects as what is left when untreated outcomes are imputed."""
