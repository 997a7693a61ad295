"""Runs: opened, observed, advanced, shown. Each module does one thing to a run; all writing goes through a turn."""
