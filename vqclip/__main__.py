"""`python -m vqclip`: the same as the command `vqclip`."""

import sys

from vqclip.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
