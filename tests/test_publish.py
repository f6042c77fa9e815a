"""Files appear whole or not at all, and never on top of another one."""

import errno
import os
import time

import pytest
from steps import start_python

from vqclip.errors import OutputError
from vqclip.sinks import publish as publishing
from vqclip.sinks.publish import claim_folder, prepare, publish, sweep


def leftovers(folder):
    return [name for name in os.listdir(folder) if name.endswith(".part")]


def test_a_file_is_published_with_its_folders_and_nothing_beside_it(tmp_path):
    path = publish(tmp_path / "a" / "b" / "x.png", b"data")
    assert path == tmp_path / "a" / "b" / "x.png" and path.read_bytes() == b"data"
    assert os.listdir(path.parent) == ["x.png"]


def test_a_taken_name_is_never_overwritten(tmp_path):
    paths = [publish(tmp_path / "x.png", str(n).encode()) for n in range(3)]
    assert [path.name for path in paths] == ["x.png", "x-2.png", "x-3.png"]
    assert [path.read_bytes() for path in paths] == [b"0", b"1", b"2"]


def test_overwriting_replaces_the_file_when_asked(tmp_path):
    publish(tmp_path / "x.png", b"old")
    assert publish(tmp_path / "x.png", b"new", overwrite=True).read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["x.png"]


def test_the_rights_are_those_of_an_ordinary_new_file(tmp_path):
    (tmp_path / "ordinary").write_bytes(b"")
    before = os.umask(0o027)
    try:
        assert publish(tmp_path / "x.png", b"").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)
    assert publish(tmp_path / "y.png", b"").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_symlink_planted_at_the_name_leaves_its_target_untouched(tmp_path, overwrite):
    (tmp_path / "precious").write_bytes(b"precious")
    for name, target in (("x.png", "precious"), ("y.png", "nowhere")):
        (tmp_path / name).symlink_to(tmp_path / target)
        path = publish(tmp_path / name, b"picture", overwrite=overwrite)
        assert path.read_bytes() == b"picture" and not path.is_symlink()
        assert path.name == (name if overwrite else name.replace(".", "-2."))
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


RACE = """
import sys
from pathlib import Path
from vqclip.sinks import publish
if sys.argv[3] == "no links":
    def refuse(*paths): raise PermissionError(1, "no links here")
    publish.os.link = refuse
for n in range(int(sys.argv[4])):
    path = publish.publish(Path(sys.argv[1]), f"{sys.argv[2]} {n}".encode(), durable=False)
    assert path.read_bytes() == f"{sys.argv[2]} {n}".encode()
"""


@pytest.mark.parametrize(("links", "writers", "each"), [("links", 8, 25), ("no links", 3, 25)])
def test_many_writers_of_one_name_lose_nothing(tmp_path, links, writers, each):
    running = [start_python(RACE, tmp_path / "x.png", n, links, each) for n in range(writers)]
    for process in running:
        _, problem = process.communicate(timeout=300)
        assert process.returncode == 0, problem
    contents = {path.read_bytes() for path in tmp_path.iterdir()}
    assert contents == {f"{writer} {n}".encode() for writer in range(writers) for n in range(each)}
    assert leftovers(tmp_path) == []


FULL = """
import resource, sys
from pathlib import Path
from vqclip.errors import OutputError
from vqclip.sinks.publish import publish
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    publish(Path(sys.argv[1]), b"x" * 5000, overwrite=sys.argv[2] == "over")
except OutputError as error:
    print(error.message)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("how", ["over", "beside"])
def test_a_full_disk_keeps_what_was_there_and_leaves_nothing_else(tmp_path, how):
    (tmp_path / "x.png").write_bytes(b"old")
    process = start_python(FULL, tmp_path / "x.png", how)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 6
    assert "larger than this disk" in said
    assert os.listdir(tmp_path) == ["x.png"] and (tmp_path / "x.png").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "disk reports an error"),
        (errno.ELOOP, os.strerror(errno.ELOOP)),
    ],
)
def test_what_the_system_says_becomes_a_sentence(tmp_path, monkeypatch, number, words):
    def fail(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(publishing.os, "fsync", fail)
    with pytest.raises(OutputError, match=words) as caught:
        publish(tmp_path / "x.png", b"data")
    assert caught.value.exit_code == 6 and str(tmp_path) in caught.value.message
    assert os.listdir(tmp_path) == []


def test_being_interrupted_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(publishing.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path / "x.png", b"data")
    assert os.listdir(tmp_path) == []


def test_a_file_where_a_folder_should_be_is_said_before_any_work(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file" / "x.png", tmp_path / "file" / "deeper" / "x.png"):
        for attempt in (prepare, lambda path: publish(path, b""), claim_folder):
            with pytest.raises(OutputError, match="is a file, not a folder"):
                attempt(path)


def test_a_folder_where_the_file_should_be_is_said(tmp_path):
    (tmp_path / "x.png").mkdir()
    with pytest.raises(OutputError, match="there is a folder of that name"):
        prepare(tmp_path / "x.png")
    with pytest.raises(OutputError):
        publish(tmp_path / "x.png", b"", overwrite=True)
    assert publish(tmp_path / "x.png", b"").name == "x-2.png"
    assert leftovers(tmp_path) == []


def test_a_place_that_allows_no_files_is_said_before_any_work(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(publishing.os, "open", refuse)
    with pytest.raises(OutputError, match="read-only"):
        prepare(tmp_path / "x.png")


def test_preparing_makes_the_folder_and_leaves_no_file(tmp_path):
    prepare(tmp_path / "new" / "folder" / "x.png")
    assert os.listdir(tmp_path / "new" / "folder") == []


def test_what_a_crash_left_an_hour_ago_is_swept_and_nothing_else(tmp_path):
    old = time.time() - 3700
    for name, when in (
        (".vqclip-00.part", old),
        (".vqclip-01.part", time.time()),
        ("mine.part", old),
        (".vqclip-notes", old),
    ):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (when, when))
    prepare(tmp_path / "x.png")
    assert sorted(os.listdir(tmp_path)) == [".vqclip-01.part", ".vqclip-notes", "mine.part"]
    assert sweep(tmp_path / "no such folder") == 0


def test_a_run_folder_is_always_a_new_one(tmp_path):
    assert [claim_folder(tmp_path / "run").name for _ in range(3)] == ["run", "run-2", "run-3"]
