"""Wiring: settings become parts, parts become events, events become files."""
