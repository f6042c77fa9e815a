"""Training loops: they yield, print nothing and write nothing."""
