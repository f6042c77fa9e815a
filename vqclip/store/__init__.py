"""Bytes and names: the only room that touches weight files and the network."""
