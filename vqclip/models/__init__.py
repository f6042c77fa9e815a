"""Modules with weights: a config in, tensors out; no paths and no network."""
