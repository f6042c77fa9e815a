"""Pickles that ask torch's own reader for more than they hold: refused with the name, before anything is allocated."""

import pickle
import struct
import time
import zipfile
from collections import Counter, OrderedDict, defaultdict
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from watch import small, watched

from vqclip.errors import ModelError
from vqclip.store import pickles
from vqclip.store.checkpoint import read_weights
from vqclip.store.pickles import read_pickled
from vqclip.store.rehearsal import rehearse

ENCODE, SET, ORDERED = b"c_codecs\nencode\n", b"c__builtin__\nset\n", b"ccollections\nOrderedDict\n"
MOST_MEGABYTES = 50


def text(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def long(value: int) -> bytes:
    return b"\x8a" + bytes([len(pickle.encode_long(value))]) + pickle.encode_long(value)


def encoded(inner: bytes, codec: str) -> bytes:
    return ENCODE + inner + text(codec) + b"\x86R"


def hex_of_hex(times: int) -> bytes:
    inner = text("x" * 100)
    for _ in range(times):
        inner = encoded(inner, "hex")
    return inner


def tuple_of_tuples(times: int) -> bytes:
    """A dictionary whose key takes 2**times steps to hash."""
    return b"}" + b")" + b"q\x00h\x00\x86" * times + b"Ns"


PAYLOADS = {
    "builtins.bytearray": b"c__builtin__\nbytearray\n" + number(300_000_000) + b"\x85R",
    "BYTEARRAY8 of pickle protocol 5": b"\x96" + struct.pack("<Q", 1) + b"x",
    "_codecs.encode to something else than latin1": hex_of_hex(22),
    "_codecs.encode to something else": b"(" + (ENCODE + text("x" * 99) + b"\x85R") * 9 + b"l",
    "torch.FloatTensor": b"ctorch\nFloatTensor\n" + number(2**30) + b"\x85R",
    "torch._utils._rebuild_qtensor": b"ctorch._utils\n_rebuild_qtensor\n)R",
    "torch._tensor._rebuild_from_type_v2": b"ctorch._tensor\n_rebuild_from_type_v2\n)R",
    "a call of torch.storage.UntypedStorage": b"ctorch.storage\nUntypedStorage\n" + number(2**30) + b"\x85R",
    "a call of something": b"]" + b")R",
    "more than 500,000 steps": b"(" + b"]" * 3_000_000 + b"t",
    "more than 4,194,304 bytes of index": text("x" * 20_000_000),
    "copies of its own parts": tuple_of_tuples(60),
    "keys that are no words": b"}(" + b"".join(long(n * (2**61 - 1)) + b"N" for n in range(1, 20_000)) + b"u",
    "thousands of keys": SET + b"](" + b"".join(long(n * (2**61 - 1)) for n in range(1, 20_000)) + b"e\x85R",
    "more than 100 names": b"(" + b"".join(b"ctyping\nA%d\n" % n for n in range(8_000)) + b"t",
}
COPIES = {
    "encode": ENCODE + b"q\x00" + text("x" * 30_000) + b"q\x01" + text("latin1") + b"q\x02(" + b"h\x00h\x01h\x02\x86R",
    "set": SET + b"q\x00](" + b"".join(number(n) for n in range(30_000)) + b"eq\x01(" + b"h\x00h\x01\x85R",
    "state": ORDERED + b"q\x00}(" + b"".join(number(n) + b"N" for n in range(30_000)) + b"uq\x01(" + b"h\x00)Rh\x01b",
}


def write(path: Path, index: bytes, zipped: bool) -> Path:
    """A weight file of this index, as torch would write it around it."""
    whole = b"\x80\x02" + index + b"."
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", whole)
            archive.writestr("archive/version", b"3\n")
    else:
        system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
        first = (torch.serialization.MAGIC_NUMBER, 1001, system)
        path.write_bytes(b"".join(pickle.dumps(part, 2) for part in first) + whole + pickle.dumps([], 2))
    return path


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", PAYLOADS)
def test_an_index_that_would_fill_the_memory_or_take_for_ever_is_refused(name, zipped, tmp_path):
    path = write(tmp_path / "evil.ckpt", PAYLOADS[name], zipped)
    said = "its index alone is" if zipped and "bytes of index" in name else name
    with small(MOST_MEGABYTES), watched(5), pytest.raises(ModelError, match=said) as caught:
        read_weights(path)
    assert caught.value.exit_code == 4 and "\n" not in caught.value.message and caught.value.hint


@pytest.mark.parametrize("name", COPIES)
def test_one_part_that_is_copied_again_and_again_is_refused(name, tmp_path):
    head, call = COPIES[name].rsplit(b"(", 1)
    read_pickled(write(tmp_path / "once.ckpt", head + b"(" + call * 2 + b"t", True), zipped=True)
    path = write(tmp_path / "often.ckpt", head + b"(" + call * 5_000 + b"t", True)
    with small(MOST_MEGABYTES), watched(5), pytest.raises(ModelError, match="copies of its own parts"):
        read_pickled(path, zipped=True)


def test_an_older_file_whose_storages_are_larger_than_itself_is_refused(tmp_path):
    torch.save({"a": torch.zeros(3)}, tmp_path / "honest.ckpt", _use_new_zipfile_serialization=False)
    index = torch_index(tmp_path / "honest.ckpt")
    assert index.count(b"K\x03") == 2
    path = write(tmp_path / "lying.ckpt", index.replace(b"K\x03", number(2**30)), False)
    with small(MOST_MEGABYTES), pytest.raises(ModelError, match=r"claims? more numbers than the file has"):
        read_weights(path)


def torch_index(path: Path) -> bytes:
    """The index in an older file of torch, without its first and last byte."""
    file = BytesIO(path.read_bytes())
    for _ in range(3):
        pickle.load(file)  # our own file of a moment ago: numbers and a dictionary
    start = file.tell()
    rehearse(file)
    return file.getvalue()[start + 2 : file.tell() - 1]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_bytes_and_numbers_of_numpy_and_what_schedulers_keep_do_no_harm(zipped, tmp_path):
    document = {
        "state_dict": OrderedDict(a=torch.arange(3.0), b=torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))),
        "bytes": [b"\xff\x00" * 5000, b"", b"x", b"\xff\x00" * 5000],
        "numpy": [np.float64(0.5), np.arange(5000.0), np.random.RandomState(1).get_state()],
        "scheduler": {"milestones": Counter([1, 2, 2]), "seen": {1, 2}, "betas": [(0.9, 0.999)] * 500, "z": 1j},
        "hyper": {"size": torch.Size([1, 2]), "device": torch.device("cpu"), "dtype": torch.float16},
    }
    torch.save(document, tmp_path / "whole.ckpt", _use_new_zipfile_serialization=zipped)
    assert {name: t.tolist() for name, t in read_weights(tmp_path / "whole.ckpt").items()} == {
        "a": [0, 1, 2],
        "b": [1, 1],
    }


def test_the_index_of_a_large_training_file_is_looked_through_in_under_a_second(tmp_path):
    weights = {f"model.blocks.{n}.attention.projection.weight": torch.zeros(1) for n in range(8000)}
    torch.save({"state_dict": weights}, tmp_path / "large.ckpt")
    with zipfile.ZipFile(tmp_path / "large.ckpt") as archive:
        index = archive.read("large/data.pkl")
    assert len(index) > 900_000
    began = time.thread_time()
    assert rehearse(BytesIO(index)) == set()
    assert time.thread_time() - began < 1


@pytest.mark.parametrize("name", ["version", "byteorder"])
def test_a_zip_is_not_read_for_its_notes_or_its_list_of_parts_before_they_are_measured(name, tmp_path):
    for parts in ({name: b" " * 60_000_000}, {"x" * 60_000: b"", "y" * 60_000: b""}):
        with zipfile.ZipFile(tmp_path / "evil.ckpt", "w") as archive:
            archive.writestr("a/data.pkl", b"\x80\x02}.")
            for part, content in parts.items():
                for number in range(1 if content else 20):
                    archive.writestr(f"a/{part}{number or ''}", content)
        with small(MOST_MEGABYTES), watched(5), pytest.raises(ModelError, match=r"is refused: .* is [\d,]+ bytes"):
            read_weights(tmp_path / "evil.ckpt")


def test_the_header_of_safetensors_is_measured_before_it_is_read(tmp_path):
    header = b'{"__metadata__":{"a":"' + b"x" * 60_000_000 + b'"}}'
    (tmp_path / "evil.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with small(MOST_MEGABYTES), watched(5), pytest.raises(ModelError, match="its header alone is"):
        read_weights(tmp_path / "evil.safetensors")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_filled_dictionaries_and_small_things_of_foreign_kinds_do_no_harm(zipped, tmp_path):
    document = {"state_dict": {"a": torch.arange(3.0)}, "optimizer": defaultdict(dict, {0: {"step": 1}})}
    document["hyper"] = [frozenset([1]), torch.__version__, PurePosixPath("a"), np.float32]
    torch.save(document, tmp_path / "filled.ckpt", _use_new_zipfile_serialization=zipped)
    assert read_weights(tmp_path / "filled.ckpt")["a"].tolist() == [0, 1, 2]


def test_an_index_is_measured_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "MOST_PICKLE_BYTES", 100)
    torch.save({"a": torch.zeros(3)}, tmp_path / "plain.ckpt")
    with pytest.raises(ModelError, match="its index alone is"):
        read_weights(tmp_path / "plain.ckpt")
