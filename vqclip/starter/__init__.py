"""The embedded default: a renderer of captioned scenes and the small models trained from them."""
