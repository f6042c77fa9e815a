"""Functions of tensors: no files, no model names, no global randomness."""
