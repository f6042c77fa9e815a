"""Downloads against a faulty server: taken up where they broke off, never published wrong, the next mirror tried."""

import hashlib
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace
from urllib.request import Request

import pytest
from filelock import FileLock
from mirror import WEIGHTS, serving

from vqclip.errors import ModelError, OutputError
from vqclip.store.download import MOST_STALLS, Wanted, fetch
from vqclip.store.web import Refused, _NoDowngrade

SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def mirror():
    with serving() as server:
        yield server


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "models" / "mine.safetensors"


def brought(target: Path, *mirrors: str, notes: list[str] | None = None, **known) -> str:
    known = known or {"size": len(WEIGHTS), "sha256": SHA256}
    noted = [] if notes is None else notes
    return fetch(Wanted(target, mirrors, **known), note=noted.append, progress=lambda *_: None, pause=0)


def left(target: Path) -> set[str]:
    return {path.name for path in target.parent.iterdir()} - {f".{target.name}.lock"}


def test_a_whole_file_is_hashed_on_the_way_and_published(mirror, target):
    heard = []
    wanted = Wanted(target, [mirror.url()], len(WEIGHTS), SHA256)
    assert fetch(wanted, note=print, progress=lambda here, total: heard.append((here, total))) == SHA256
    assert target.read_bytes() == WEIGHTS and left(target) == {target.name}
    assert heard[-1] == (len(WEIGHTS), len(WEIGHTS)) and heard == sorted(heard)


@pytest.mark.parametrize("known", [{"size": len(WEIGHTS), "sha256": SHA256}, {"size": None}])
def test_a_broken_transfer_goes_on_where_it_broke_off(known, mirror, target):
    assert brought(target, mirror.url("drop"), **known) == SHA256
    assert [wanted for _, wanted in mirror.asked] == ["", f"bytes={len(WEIGHTS) // 2}-"]
    assert mirror.sent <= 1.05 * len(WEIGHTS)
    assert target.read_bytes() == WEIGHTS


def test_what_an_earlier_run_left_is_gone_on_from_even_at_another_mirror(mirror, target):
    with pytest.raises(ModelError, match="broke off"):
        brought(target, mirror.url("drop+norange"))
    assert not target.exists()
    mirror.sent = 0
    brought(target, mirror.url())
    assert mirror.sent <= 0.55 * len(WEIGHTS) and target.read_bytes() == WEIGHTS


def test_a_whole_part_that_was_never_published_needs_no_second_transfer(mirror, target):
    target.parent.mkdir()
    Wanted(target, []).part.write_bytes(WEIGHTS)
    assert brought(target, mirror.url()) == SHA256
    assert mirror.asked == [] and target.exists()


def test_a_server_without_ranges_sends_all_again_and_the_result_is_whole(mirror, target):
    target.parent.mkdir()
    Wanted(target, []).part.write_bytes(WEIGHTS[:1000])
    assert brought(target, mirror.url("norange")) == SHA256
    assert target.read_bytes() == WEIGHTS


def test_without_a_checksum_two_versions_are_never_mixed(mirror, target):
    target.parent.mkdir()
    wanted = Wanted(target, [])
    for source in (
        f"{mirror.url('wrong')}\n{mirror.tag}",
        f'{mirror.url()}\n"another version"',
        f"{mirror.url()}\n",
        "?",
    ):
        wanted.part.write_bytes(b"x" * 1000)
        wanted.source.write_text(source)
        assert brought(target, mirror.url(), size=None) == SHA256
        target.unlink()


@pytest.mark.parametrize("faults", ["unsized", "odd"])
def test_what_may_have_been_cut_off_is_published_only_if_its_size_is_known(faults, mirror, target):
    with pytest.raises(ModelError, match="does not say how large the file is"):
        brought(target, mirror.url(f"{faults}+drop"), size=None)
    assert not target.exists()
    assert brought(target, mirror.url(faults)) == SHA256


def test_a_mirror_that_never_ends_does_not_fill_the_disk(mirror, target):
    with pytest.raises(ModelError, match=r"gives [\d,]+ bytes, not"):
        brought(target, mirror.url("endless"))
    assert left(target) <= {f".{target.name}.source"} and mirror.sent < 50 * len(WEIGHTS)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("ftp://127.0.0.1/x", "leads on to ftp:, which is not safe"),
        ("http://[::1/x", "leads to an address that makes no sense"),
        (f"http://{'a' * 70}.example/x", "leads to an address that makes no sense|cannot be reached"),
        ("http://127.0.0.1:99999999/x", "leads to an address that makes no sense|cannot be reached"),
    ],
)
def test_a_mirror_that_leads_astray_is_not_followed(location, said, mirror, target):
    mirror.location = location
    with pytest.raises(ModelError, match=said):
        brought(target, mirror.url("moved"))


def test_a_safe_address_never_leads_to_an_unsafe_one():
    with pytest.raises(Refused, match="leads on to http:"):
        _NoDowngrade().redirect_request(Request("https://a.example/x"), None, 302, "", {}, "http://a.example/x")


def test_a_mirror_that_leads_in_circles_is_said_so_in_one_line(mirror, target):
    mirror.location = mirror.url("moved")
    with pytest.raises(ModelError, match="answers 302") as caught:
        brought(target, mirror.url("moved"))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(("kind", "data"), [("part", b"mine"), ("source", b"mine"), ("part", WEIGHTS)])
def test_a_link_that_somebody_planted_is_never_followed(kind, data, mirror, target, tmp_path):
    target.parent.mkdir()
    (tmp_path / "precious").write_bytes(data)
    getattr(Wanted(target, []), kind).symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError, match="cannot be written"):
        brought(target, mirror.url())
    assert (tmp_path / "precious").read_bytes() == data and not target.exists()


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ("403", "answers 403"),
        ("404", "answers 404"),
        ("html", "a web page instead of the file"),
        ("lfs", "git-lfs pointer"),
        ("short", "has another file: 4,096,000 bytes"),
        ("wrong", "gives another file: sha256"),
        ("503", r"broke off again and again \(answers 503"),
    ],
)
def test_a_bad_mirror_is_named_and_the_next_one_tried(faults, said, mirror, target):
    notes: list[str] = []
    said = said.replace("4,096,000", f"{len(WEIGHTS) - 9:,}")
    assert brought(target, mirror.url(faults), mirror.url(), notes=notes) == SHA256
    assert target.read_bytes() == WEIGHTS and len(notes) == 1
    target.unlink()
    with pytest.raises(ModelError, match=said) as caught:
        brought(target, mirror.url(faults))
    assert caught.value.exit_code == 4 and "vqclip models add" in caught.value.hint
    assert not target.exists()


def test_wrong_bytes_are_thrown_away_and_never_published(mirror, target):
    with pytest.raises(ModelError, match=f"not {SHA256}"):
        brought(target, mirror.url("wrong"))
    assert left(target) == {f".{target.name}.source"}


def test_a_wrong_beginning_from_an_earlier_run_is_begun_anew(mirror, target):
    target.parent.mkdir()
    Wanted(target, []).part.write_bytes(b"x" * 2000)
    assert brought(target, mirror.url()) == SHA256
    assert [wanted for _, wanted in mirror.asked] == ["bytes=2000-", ""]


def test_a_page_with_status_200_costs_nothing_of_what_is_here(mirror, target):
    target.parent.mkdir()
    part = Wanted(target, []).part
    part.write_bytes(WEIGHTS[:2_000_000])
    with pytest.raises(ModelError):
        brought(target, mirror.url("html+norange"))
    assert part.read_bytes() == WEIGHTS[:2_000_000]


def test_a_host_that_is_not_there_is_said_so(target):
    with pytest.raises(ModelError, match=r"127.0.0.1 cannot be reached: Connection refused"):
        brought(target, "http://127.0.0.1:9/model.ckpt")


def test_a_name_that_nobody_knows_is_said_so_in_one_line_and_the_next_mirror_tried(mirror, target, monkeypatch):
    real = socket.getaddrinfo

    def unknown(host, *more, **named):
        if host == "gone.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    gone = "http://gone.example/model.safetensors"
    with pytest.raises(ModelError, match=r"gone.example cannot be reached: Name or service not known") as caught:
        brought(target, gone)
    assert caught.value.exit_code == 4 and "\n" not in caught.value.message and "vqclip models add" in caught.value.hint
    assert brought(target, gone, mirror.url()) == SHA256


def test_a_server_that_does_not_answer_is_asked_again_and_then_left(mirror, target, monkeypatch):
    monkeypatch.setattr("vqclip.store.web.TIMEOUT", 0.1)
    with pytest.raises(ModelError, match=r"broke off again and again \((timed out|does not answer)\)"):
        brought(target, mirror.url("silent"))
    assert len(mirror.asked) == MOST_STALLS and not target.exists()


def test_each_wait_for_a_busy_server_is_twice_the_last(mirror, target, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr("vqclip.store.download.time.sleep", waits.append)
    with pytest.raises(ModelError, match="answers 503"):
        fetch(Wanted(target, [mirror.url("503")]), note=print, progress=lambda *_: None, pause=0.5)
    assert len(mirror.asked) == MOST_STALLS and waits == [1, 2, 4]


def test_a_full_disk_is_said_before_the_transfer_and_an_unwritable_folder_too(mirror, target, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(OutputError, match="needs 4 MB more"):
        brought(target, mirror.url())
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        brought(tmp_path / "file" / "model.ckpt", mirror.url())


def test_two_at_once_do_not_write_into_each_other(mirror, target):
    target.parent.mkdir()
    with FileLock(target.with_name(f".{target.name}.lock")), pytest.raises(ModelError, match="by another vqclip"):
        brought(target, mirror.url())
