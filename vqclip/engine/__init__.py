"""Loops that yield: they print nothing and write nothing."""
