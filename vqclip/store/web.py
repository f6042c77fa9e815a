"""One request for a file, or for the rest of one, and what the answer means.

The standard library does the talking: a download needs nothing that a larger client would add, and the one that
huggingface_hub depends on has changed twice.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 30.0
NOT_SATISFIABLE = 416
MOST_DIGITS = 18
_PATIENT = frozenset({408, 425, 429, 500, 502, 503, 504, NOT_SATISFIABLE})


class Refused(Exception):
    """This address does not give the file."""


class Dropped(Exception):
    """The transfer broke off, and may be taken up again. useless says that what is here is no beginning of the file."""

    def __init__(self, reason: str, *, useless: bool = False) -> None:
        super().__init__(reason)
        self.useless = useless


@dataclass(frozen=True)
class Answer:
    """What a server sends: bytes from `offset` on, of a file of `total` bytes in all; tag names its version, or ""."""

    reply: Any
    offset: int
    total: int | None
    tag: str

    def read(self, most: int) -> bytes:
        """The next bytes, at most so many; none at the end. Raises: Dropped."""
        try:
            return self.reply.read(most)
        except (http.client.HTTPException, OSError) as error:
            raise Dropped(_reason(error)) from error


@contextmanager
def asked(url: str, have: int = 0, tag: str = "") -> Iterator[Answer]:
    """Asks for a file from byte `have` on; with a tag, for the whole if that version is gone.

    Raises: Refused if the address is no good, Dropped if it may be better in a moment.
    """
    headers = {"User-Agent": "vqclip", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", **({"If-Range": tag} if tag else {})}
    reply = _opened(urllib.request.Request(url, headers=headers))
    with reply:
        yield _understood(reply, have)


def host(url: str) -> str:
    """The host of an address, for a sentence."""
    return urlsplit(url).hostname or "a mirror"


def _opened(request: urllib.request.Request) -> Any:
    try:
        return urllib.request.build_opener(_NoDowngrade).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        said = f"answers {error.code} {_line(error.reason)}"
        if error.code in _PATIENT:
            raise Dropped(said, useless=error.code == NOT_SATISFIABLE) from error
        raise Refused(said) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise Dropped("does not answer") from error
        raise Refused(f"cannot be reached: {getattr(error.reason, 'strerror', None) or error.reason}") from error
    except (http.client.HTTPException, OSError) as error:
        raise Dropped(_reason(error)) from error
    except (ValueError, OverflowError) as error:
        raise Refused("leads to an address that makes no sense") from error


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows an address elsewhere, but never from https to anything less."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).scheme not in (urlsplit(req.full_url).scheme, "https"):
            raise Refused(f"leads on to {urlsplit(newurl).scheme}:, which is not safe")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _understood(reply: Any, have: int) -> Answer:
    tag = reply.headers.get("ETag", "")
    if reply.status == http.client.PARTIAL_CONTENT:
        span, _, whole = reply.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if span.partition("-")[0] != str(have):
            raise Refused("answers with another part of the file than was asked for")
        return Answer(reply, have, _length(whole), tag)
    if reply.headers.get_content_type() == "text/html":
        raise Refused("answers with a web page instead of the file")
    return Answer(reply, 0, _length(reply.headers.get("Content-Length", "")), tag)


def _length(text: str) -> int | None:
    """The number of bytes that a header gives; None for anything that is no plain number."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS else None


def _reason(error: Exception) -> str:
    return _line(error) or type(error).__name__


def _line(said: object) -> str:
    """The first line of what a stranger says, not too long."""
    return next(iter(str(said).strip().splitlines()), "")[:200]
