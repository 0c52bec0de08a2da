"""Evaluation of Norwegian labour-market programmes, from register extract to report."""

__version__ = "0.1.0"
