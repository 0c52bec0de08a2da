"""Effects on durations: spells turned into outcomes that scores, tests and rules can take."""
