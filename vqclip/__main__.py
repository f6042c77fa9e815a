"""Lets `python -m vqclip` do what `vqclip` does."""

import sys

from vqclip.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
