"""Every error a person can cause, and the exit code each one ends the program with.

VqclipError
├── UsageError      2   a flag, preset, prompt or file of settings that makes no sense
├── PartialError    3   a batch that finished, but not every job of it
├── ModelError      4   a model that is missing, damaged, refused or of the wrong kind
├── PictureError    5   a picture to read that cannot be read
├── OutputError     6   a place to write that cannot be written
├── MemoryFullError 7   not enough memory
└── DivergedError   8   the loss stopped being a number

0 is success and 1 is a bug. A signal ends with 128 + its number: Ctrl-C 130, SIGTERM 143, SIGHUP 129.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vqclip.events import Step


class VqclipError(Exception):
    """An expected failure: one clear sentence, and a hint that says how to cure it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(VqclipError):
    """What was asked for makes no sense: a flag, preset, prompt or settings file."""

    exit_code = 2


class PartialError(VqclipError):
    """A batch finished, but some of its jobs failed."""

    exit_code = 3


class ModelError(VqclipError):
    """A model is missing, damaged, refused as unsafe, or not of the expected kind."""

    exit_code = 4


class PictureError(VqclipError):
    """A picture that should be read is missing, broken, too large or of an unknown kind."""

    exit_code = 5


class OutputError(VqclipError):
    """A result cannot be written: no space, no permission, no such folder."""

    exit_code = 6


class MemoryFullError(VqclipError):
    """The device or the machine ran out of memory."""

    exit_code = 7


class DivergedError(VqclipError):
    """The loss became NaN or infinite and did not recover at a lower learning rate.

    last_good is the event of the last moment at which all was well, if there was one: its picture can still be saved.
    """

    exit_code = 8

    def __init__(self, message: str, *, hint: str | None = None, last_good: Step | None = None) -> None:
        super().__init__(message, hint=hint)
        self.last_good = last_good
