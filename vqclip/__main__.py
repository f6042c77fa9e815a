"""Lets `python -m vqclip` do what `vqclip` does."""

from vqclip.cli.main import main

if __name__ == "__main__":
    main()
