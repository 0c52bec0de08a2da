"""Time until an exit."""
