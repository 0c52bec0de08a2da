"""Effects of participation, from a roll-out that matters more to those likelier to take part."""
