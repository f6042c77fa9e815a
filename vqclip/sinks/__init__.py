"""Listeners: they turn the events of a loop into files, bars and lines. They know nothing of models."""
