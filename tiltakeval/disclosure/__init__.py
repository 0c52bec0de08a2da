"""Disclosure control: what may leave the working folder, and in which form."""
