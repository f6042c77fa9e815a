"""A web server for the tests of downloads: in this process, and as faulty as the path that is asked for says."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WEIGHTS = (16).to_bytes(8, "little") + b"{" + bytes(range(256)) * 16_000  # 4 MB that begin like safetensors
PAGE = b"<!DOCTYPE html><html><body>please log in</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


class Mirror(ThreadingHTTPServer):
    """Serves WEIGHTS under any path; the words in the path are its faults.

    drop: every reply but those for the last half ends in the middle; norange: ranges are ignored; wrong: other bytes
    of the same length; short: fewer bytes, said so; html, lfs: something else with status 200; untagged: no ETag;
    unsized: no Content-Length; odd: one that is no number; endless: more and more bytes, unsized; moved: another
    address, `location`; silent: no answer for a second; a number: that status.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str]] = []
        self.sent = 0
        self.tag = '"one"'
        self.location = ""

    def handle_error(self, *_: object) -> None:
        """Says nothing: a client that has seen enough hangs up."""

    def url(self, faults: str = "good") -> str:
        """The address of the weights, with these faults."""
        return f"http://127.0.0.1:{self.server_address[1]}/{faults}/model.safetensors"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Mirror = self.server  # type: ignore[assignment]
        faults = self.path.split("/")[1].split("+")
        wanted = self.headers.get("Range", "")
        server.asked.append((self.path, wanted))
        if "silent" in faults:
            time.sleep(1)
        if status := next((int(word) for word in faults if word.isdigit()), None):
            return self.send_error(status)
        if "moved" in faults:
            self.send_response(302)
            self.send_header("Location", server.location)
            return self.end_headers()
        body = {"html": PAGE, "lfs": POINTER, "short": WEIGHTS[:-9], "wrong": WEIGHTS[:-1] + b"!"}
        data = next((body[word] for word in faults if word in body), WEIGHTS)
        start = int(re.sub(r"\D", "", wanted) or 0) if "norange" not in faults else 0
        if start and self.headers.get("If-Range", server.tag) != server.tag:
            start = 0
        if start >= len(data):
            return self.send_error(416)
        self._head(data, start, faults)
        rest = data[start:]
        if "drop" in faults and start < len(data) // 2:
            rest = rest[: len(data) // 2 - start]
        for _ in range(200 if "endless" in faults else 1):
            server.sent += len(rest)
            self.wfile.write(rest)
        self.close_connection = True

    def _head(self, data: bytes, start: int, faults: list[str]) -> None:
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Type", "text/html" if "html" in faults else "application/octet-stream")
        if "odd" in faults:
            self.send_header("Content-Length", "\xb2" + "9" * 5000)
        elif not {"unsized", "endless"} & {*faults}:
            self.send_header("Content-Length", str(len(data) - start))
        if "untagged" not in faults:
            self.send_header("ETag", self.server.tag)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def serving() -> Iterator[Mirror]:
    """A mirror that runs while the block does."""
    server = Mirror()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
