"""Effects of treatments that end, come back or take several values."""
