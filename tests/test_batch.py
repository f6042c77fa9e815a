"""Files of prompts from end to end, with real models made tiny."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batches import SMALL, pictures, pixels, stop_at, strays
from door import save_picture

from vqclip.cli.main import main
from vqclip.runs.painter import Report
from vqclip.sinks import publish as publishing
from vqclip.sinks.ledger import WORK, Ledger
from vqclip.sinks.metadata import read_recipe


@pytest.fixture
def vqclip(tiny_models, tmp_path, monkeypatch, capsys):
    """Runs `vqclip ARGS` with the tiny models in a fresh folder; gives (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str, small: tuple[str, ...] = SMALL) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*args, *tiny_models.flags(), *small])
        return (code, *capsys.readouterr())

    return run


def write(name: str, text: str) -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def test_a_file_is_painted_once_and_only_what_is_missing_later(vqclip) -> None:
    file = write("fog.txt", "# two\na castle --seed 5..6\n\nfog in a castle --steps 2\n")
    code, out, err = vqclip("batch", file)
    paths = [Path(line) for line in out.split()]
    assert code == 0, err
    assert len(paths) == 3 and all(path.parent == Path.cwd() / "outputs" / "fog" for path in paths)
    assert len(pictures(Path("outputs/fog"))) == 3 and strays(Path("outputs/fog")) == []
    assert all(path.stem.endswith(str(read_recipe(path.read_bytes())["job"])) for path in paths)
    before = {path: path.stat().st_mtime_ns for path in paths}
    assert vqclip("batch", file)[:2] == (0, "")
    paths[1].unlink()
    code, out, _ = vqclip("batch", file)
    assert (code, out.split()) == (0, [str(paths[1])])
    assert all(path.stat().st_mtime_ns == before[path] for path in (paths[0], paths[2]))


def test_alone_and_in_a_batch_give_the_same_pixels(vqclip) -> None:
    _, alone, _ = vqclip("a castle in fog", "--seed", "7")
    _, out, _ = vqclip("batch", write("p.txt", "fog --lr 0.5 --tv 2 --no-flip\na castle in fog\nfog\n"), "--seed", "7")
    assert pixels(alone.strip()) in {pixels(path) for path in out.split()} and len(out.split()) == 3


def test_models_are_loaded_once_for_all_jobs_that_share_them(vqclip, monkeypatch) -> None:
    from vqclip.runs import parts, sketch

    loaded = []
    kept = (
        (parts, "load_vqgan", parts._vqgan),
        (parts, "load_clip", parts._clip),
        (sketch, "load_prior", sketch._loaded),
    )
    for room, name, cached in kept:
        cached.cache_clear()
        load = getattr(room, name)
        monkeypatch.setattr(room, name, lambda *a, load=load, name=name, **m: (loaded.append(name), load(*a, **m))[1])
    lines = [f"fog {n} --tile {tile}\n" for n in range(2) for tile in ("x", "y", "both")]
    code, out, _ = vqclip("batch", write("p.txt", "".join(lines)))
    assert code == 0 and len(out.split()) == 6
    assert (loaded.count("load_vqgan"), loaded.count("load_clip")) == (3, 1)
    loaded.clear()
    starter = ["--steps", "1", "--size", "64x64", "--cutouts", "2", "--dtype", "float32"]
    assert main(["batch", write("q.txt", "a castle\nfog\n"), *starter]) == 0
    assert sorted(loaded) == ["load_clip", "load_prior", "load_vqgan"]


def test_files_of_every_kind_ask_for_the_same_jobs(vqclip) -> None:
    write("p.txt", 'a castle --lr 0.05 --no-flip\n"fog" -n 2\n')
    write("p.csv", "prompt,learning_rate,flip,count\r\na castle,0.05,false,\r\nfog,,,2\r\n")
    write("p.jsonl", '{"prompt": "a castle", "lr": 0.05, "flip": false}\n{"prompt": "fog", "count": 2}\n')
    write("p.toml", '[[picture]]\nprompt = "a castle"\nlr = 0.05\nflip = false\n[[picture]]\nprompt="fog"\ncount=2\n')
    plans = [vqclip("batch", f"p{kind}", "--dry-run")[1] for kind in (".txt", ".csv", ".jsonl", ".toml")]
    assert len({text.replace("line 4:", "line 2:") for text in (plans[0], plans[2])}) == 1
    jobs = [sorted(line.split(": ")[1] for line in plan.splitlines()) for plan in plans]
    assert jobs[0] == jobs[1] == jobs[2] == jobs[3] and len(jobs[0]) == 3


def test_sweeps_seeds_and_expansions_multiply_and_flags_win_over_lines(vqclip) -> None:
    file = write("p.txt", "a {castle|fog} --lr 0.5 --steps 9\n")
    sweep = ("--sweep", "lr=0.1,0.2", "--sweep", "cutouts=2..4")
    code, out, _ = vqclip("batch", file, "--expand", "all", "--seed", "1,2", *sweep, "--dry-run", "--json")
    plans = [json.loads(line)["plan"] for line in out.splitlines()]
    assert code == 0 and len({plan["job"] for plan in plans}) == 2 * 2 * 2 * 3
    assert {plan["learning_rate"] for plan in plans} == {0.1, 0.2} and {plan["steps"] for plan in plans} == {3}
    assert {plan["prompt"] for plan in plans} == {"a castle", "a fog"}
    code, _, err = vqclip("batch", file, "--expand", "all", "--seed", "1,2", *sweep, "--max-jobs", "23")
    assert code == 2 and "24 pictures" in err and "--max-jobs 24" in err


def test_all_mistakes_are_told_with_their_place_before_any_work(vqclip) -> None:
    file = write(
        "p.txt", "fog --stps 3\nfog\nfog --size 50 --lr x\na:b |\n'tis --output x\nfog --init-image ../x.png\n"
    )
    code, out, err = vqclip("batch", file)
    assert (code, out) == (2, "") and "p.txt: 5 mistakes" in err
    for place in ("line 1, column 5:", "line 3, column 15:", "line 4:", "line 5, column 6:", "line 6: "):
        assert place in err
    assert not Path("outputs").exists()


def test_mistakes_in_toml_are_told_where_they_stand_and_once(vqclip) -> None:
    text = 'tv = "y"\n[[picture]]\nprompt = "fog"\n\n[[picture]]\nprompt = "a castle"\n lr = "x"\n'
    code, _, err = vqclip("batch", write("p.toml", text), "--dry-run")
    assert code == 2 and "p.toml, line 1, column 1: " in err, err
    code, _, err = vqclip("batch", write("p.toml", text.removeprefix('tv = "y"\n')), "--dry-run")
    assert code == 2 and "p.toml, line 6, column 2: " in err, err


def test_a_missing_model_has_its_own_exit_code(vqclip) -> None:
    write("p.txt", "fog --vqgan nope\n")
    assert main(["batch", "p.txt", "--dry-run"]) == 4


def without_torch(*args: str) -> subprocess.CompletedProcess[str]:
    """Runs `vqclip ARGS` in a process of its own, which ends with 77 if that loads torch."""
    program = (
        "import sys; from vqclip.cli.main import main\ncode = main(sys.argv[1:])\n"
        "sys.exit(77 if 'torch' in sys.modules else code)"
    )
    root = Path(__file__).parent.parent
    env = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, env=env)


def test_status_tells_without_torch(vqclip, tiny_models) -> None:
    vqclip("batch", write("p.txt", "a castle\n"))
    write("p.txt", "a castle\nfog\n")
    ran = without_torch("batch", "p.txt", *tiny_models.flags(), *SMALL, "--status", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {
        "event": "status", "jobs": 2, "done": 1, "failed": 0, "left": 1, "begun": 0, "failures": {}
    }  # fmt: skip


def test_the_status_of_a_shard_counts_its_jobs_alone(vqclip) -> None:
    file, seeds = write("p.txt", "a castle\n"), ("--seed", "1..7")
    assert vqclip("batch", file, *seeds, "--shard", "2/3")[0] == 0
    for shard, jobs, done in (("1/3", 3, 0), ("2/3", 2, 2)):
        told = json.loads(vqclip("batch", file, *seeds, "--shard", shard, "--status", "--json")[1])
        assert (told["jobs"], told["done"], told["left"]) == (jobs, done, jobs - done)
    assert "jobs     7\ndone     2\n" in vqclip("batch", file, *seeds, "--workers", "auto", "--status")[1]


def test_a_batch_goes_on_where_one_job_ran_out_of_memory_within_a_step(vqclip, monkeypatch) -> None:
    from vqclip.models.vqgan import VQGAN

    decode, wide = VQGAN.decode, []

    def full(self, quantized, *, lean=False):
        if quantized.shape[3] > 8:
            wide.append(lean)
            if len(wide) > 1:  # the first step of the wide picture fits
                raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")
        return decode(self, quantized, lean=lean)

    monkeypatch.setattr(VQGAN, "decode", full)
    small = ("--steps", "3", "--height", "32", "--cutouts", "2", "--init", "codes", "--coarse", "0")
    file = write("p.txt", "a castle --width 32\nfog --width 64\nin fog --width 32\n")
    code, out, err = vqclip("batch", file, small=small)
    assert code == 3 and len(out.split()) == 2, err
    assert wide == [False, False, False, True]  # the step as it was, with half the views, and lean
    assert err.count("line 2: not enough memory") == 2 and "step 0" in err and "--micro-batch" in err
    assert "out of memory at step 1: CLIP now looks at 1 view at a time" in err
    (kept,) = Path("outputs/p").glob("*.unfinished.png")
    assert read_recipe(kept.read_bytes())["stopped"] == "out of memory"
    monkeypatch.setattr(VQGAN, "decode", decode)
    code, out, _ = vqclip("batch", file, small=small)
    assert code == 0 and len(out.split()) == 1 and strays(Path("outputs/p")) == []


def test_failed_jobs_are_listed_the_others_go_on_and_a_later_run_tries_them_again(vqclip, monkeypatch) -> None:
    import vqclip.runs.picture as room

    build = room.build_parts

    def broken(settings, **more):
        if settings.prompt == "fog":
            raise MemoryError
        return build(settings, **more)

    monkeypatch.setattr(room, "build_parts", broken)
    file = write("p.txt", "a castle\nfog\nin fog\n")
    code, out, err = vqclip("batch", file)
    assert code == 3 and len(out.split()) == 2 and err.count("line 2: not enough memory") == 2
    code, out, _ = vqclip("batch", file, "--status")
    assert "failed   1" in out and "line 2: not enough memory" in out
    monkeypatch.setattr(room, "build_parts", build)
    code, out, _ = vqclip("batch", file)
    assert code == 0 and len(out.split()) == 1 and strays(Path("outputs/p")) == []


def test_a_job_that_diverges_keeps_its_last_good_picture_until_it_is_done(vqclip, monkeypatch) -> None:
    import torch

    import vqclip.runs.picture as room

    build = room.build_parts

    def broken(settings, **more):
        bad = torch.full((1,), float("nan"))
        return replace(build(settings, **more), extras=[("bad", 1.0, lambda image, latent: bad * image.sum())])

    file, longer = write("p.txt", "a castle\n"), ("--steps", "12", *SMALL[2:])
    with monkeypatch.context() as patch:
        patch.setattr(room, "build_parts", broken)
        code, out, err = vqclip("batch", file, small=longer)
    (kept,) = Path("outputs/p").glob("*.png")
    assert (code, out) == (3, "") and kept.name.endswith(".unfinished.png") and kept.name in err
    code, out, _ = vqclip("batch", file, small=longer)
    assert code == 0 and [str(path.resolve()) for path in Path("outputs/p").glob("*.png")] == [out.strip()]


def test_json_tells_every_event_as_a_line(vqclip) -> None:
    _, out, _ = vqclip("batch", write("p.txt", "a castle\nfog\n"), "--json", "--quiet")
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["event"] for event in events] == ["begin", "done", "done", "end"]
    assert all(Path(event["path"]).is_file() and event["steps"] == 3 for event in events[1:3])
    assert events[-1] == {"event": "end", "done": 2, "failed": 0, "left": 0}


def test_one_picture_is_not_called_pictures(vqclip, monkeypatch) -> None:
    file = write("p.txt", "a castle\n")
    assert "note: 1 picture\n" in vqclip("batch", file, "--dry-run")[2]
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        err = vqclip("batch", file)[2]
    assert "1 picture, 0 done, into" in err and "1 picture is left; the same command goes on" in err
    monkeypatch.setattr("vqclip.runs.picture.build_parts", lambda *args, **more: 1 / 0)
    assert "1 of 1 picture failed" in vqclip("batch", file)[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_batch_goes_on_to_the_same_pixels(vqclip, monkeypatch, number) -> None:
    file = write("p.txt", "a castle --coarse 0.5\nfog --average 0.9\n")
    vqclip("batch", file, "-o", "whole", small=("--steps", "6", "--size", "32x32", "--cutouts", "2"))
    with monkeypatch.context() as patch:
        stop_at(patch, 4, picture=2, number=number)
        code, out, err = vqclip("batch", file, small=("--steps", "6", "--size", "32x32", "--cutouts", "2"))
    assert code == 128 + number and len(out.split()) == 1 and "the same command goes on: vqclip batch p.txt" in err
    assert [path.suffix for path in Path("outputs/p/.vqclip").iterdir() if path.suffix != ".jsonl"] == [".state"]
    code, out, err = vqclip("batch", file, small=("--steps", "6", "--size", "32x32", "--cutouts", "2"))
    assert code == 0 and len(out.split()) == 1 and "goes on from step 4" in err
    assert pictures(Path("outputs/p")) == pictures(Path("whole")) and strays(Path("outputs/p")) == []


def test_the_plan_in_a_folder_is_enough_to_go_on(vqclip, monkeypatch, tiny_models, capsys) -> None:
    file = write("p.txt", "a castle\nfog\n")
    with monkeypatch.context() as patch:
        stop_at(patch, 2, picture=1)
        assert vqclip("batch", file)[0] == 130
    assert main(["resume", "outputs/p"]) == 2
    assert "may not open files" in capsys.readouterr().err
    assert main(["resume", "outputs/p", *tiny_models.flags()]) == 0
    assert len(capsys.readouterr().out.split()) == 2
    assert len(pictures(Path("outputs/p"))) == 2
    other = ["--vqgan", str(tiny_models.vqgan), "--clip", f"{tiny_models.clip}:2"]
    assert main(["resume", "outputs/p", *other]) == 2
    assert "not the one that the batch was planned with" in capsys.readouterr().err
    assert main(["resume", "."]) == 2


def test_a_damaged_state_costs_only_its_steps(vqclip, monkeypatch) -> None:
    file = write("p.txt", "a castle\n")
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        assert vqclip("batch", file)[0] == 130
    (state,) = Path("outputs/p/.vqclip").glob("*.state")
    state.write_bytes(state.read_bytes()[:-20])
    code, _, err = vqclip("batch", file)
    assert code == 0 and "painted from its start" in err and strays(Path("outputs/p")) == []


def test_private_pictures_are_found_again_and_tell_nothing(vqclip) -> None:
    file = write("p.txt", "a castle\n")
    _, out, _ = vqclip("batch", file, "--private")
    data = Path(out.strip()).read_bytes()
    assert b"castle" not in data and "castle" not in out
    assert vqclip("batch", file, "--private")[:2] == (0, "")


def test_pictures_that_are_not_what_their_name_says_do_not_count(vqclip) -> None:
    file = write("p.txt", "a castle\n")
    _, out, _ = vqclip("batch", file)
    path = Path(out.strip())
    whole = path.read_bytes()
    save_picture(path)
    _, out, _ = vqclip("batch", file)
    assert out.strip() == str(path.with_name(f"{path.stem}-2.png"))
    path.write_bytes(whole[:-30])
    assert vqclip("batch", file)[:2] == (0, "")


def test_the_loser_of_a_race_discards_its_copy(vqclip, monkeypatch) -> None:
    import vqclip.runs.picture as room

    save = room.save_result

    def late(image, path, **more):
        save(image, path, **more)
        return save(image, path, **more)

    monkeypatch.setattr(room, "save_result", late)
    code, out, _ = vqclip("batch", write("p.txt", "a castle\n"))
    assert code == 0 and sorted(os.listdir("outputs/p")) == [".vqclip", Path(out.strip()).name]


def test_a_full_disk_ends_the_batch_with_6_and_keeps_what_was_there(vqclip, monkeypatch) -> None:
    import vqclip.runs.picture as room

    file = write("p.txt", "a castle\nfog\nin fog\n")
    save, saved = room.save_result, []

    def full(*args, **more):
        if saved:
            monkeypatch.setattr(publishing.os, "fsync", _no_space)
        saved.append(save(*args, **more))
        return saved[-1]

    monkeypatch.setattr(room, "save_result", full)
    code, out, err = vqclip("batch", file)
    assert code == 6 and len(out.split()) == 1 and "the disk is full" in err
    monkeypatch.undo()
    assert len(pictures(Path(saved[0]).parent)) == 1 and strays(Path(saved[0]).parent) == []


def _no_space(handle: int) -> None:
    raise OSError(errno.ENOSPC, "no space")


def test_a_folder_that_is_a_file_is_exit_6_before_anything_is_loaded(vqclip, tiny_models) -> None:
    write("file", "")
    code, out, err = vqclip("batch", write("p.txt", "a castle\n"), "-o", "file")
    assert (code, out) == (6, "") and "a file, not a folder" in err
    assert without_torch("batch", "p.txt", *tiny_models.flags(), *SMALL, "-o", "file").returncode == 6
    assert vqclip("batch", "p.txt", "-o", "a.png")[0] == 2


def test_shards_are_all_jobs_and_none_twice(vqclip) -> None:
    file = write("p.txt", "a castle\n")
    plans = [vqclip("batch", file, "--seed", "1..7", "--shard", f"{n}/3", "--dry-run")[1] for n in (1, 2, 3)]
    lines = [line for plan in plans for line in plan.splitlines()]
    assert len(lines) == len(set(lines)) == 7 and [len(plan.splitlines()) for plan in plans] == [3, 2, 2]
    for wrong in ("0/3", "4/3", "1", "x/y"):
        assert vqclip("batch", file, "--shard", wrong)[0] == 2


def test_a_shard_leaves_what_the_others_keep(vqclip, tmp_path, monkeypatch) -> None:
    def stopped(job: Any, ledger: Any, *args: Any, **kwargs: Any) -> Report:
        (tmp_path / "out" / WORK / f"{job.id}.state").write_bytes(b"a state")
        return Report(job)

    monkeypatch.setattr("vqclip.runs.batch.paint_job", stopped)
    file = write("p.txt", "a castle\n")
    for shard in ("1/2", "2/2"):
        vqclip("batch", file, "--seed", "1..4", "--shard", shard, "-o", str(tmp_path / "out"))
    assert len(Ledger(tmp_path / "out").begun()) == 4


def test_inputs_that_cannot_be_had_are_told_before_any_work(vqclip) -> None:
    for words, code in (("--background nocolor", 2), ("--vqgan-config no.yaml", 4), ("--init-image p.txt", 5)):
        file = write("p.txt", f"fog\nfog {words}\n")
        assert vqclip("batch", file, "--dry-run")[0] == code, words
    assert main(["batch", write("p.txt", "fog\n"), "--device", "foo", "--dry-run"]) == 2


def test_a_sweep_too_large_is_refused_before_it_is_made(vqclip) -> None:
    many = ",".join(str(n) for n in range(1, 40_000))
    sweeps = ("--sweep", f"steps={many}", "--sweep", f"cutouts={many}", "--sweep", f"tv={many}")
    code, _, err = vqclip("batch", write("p.txt", "fog\n"), *sweeps, "--dry-run")
    assert code == 2 and "the sweeps alone ask for" in err


def test_standard_input_is_a_file_of_prompts(vqclip, monkeypatch) -> None:
    import io

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfa castle\r\nfog\r\n")))
    code, out, _ = vqclip("batch", "-", "--dry-run")
    assert code == 0 and len(out.splitlines()) == 2


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["batch", "none.txt"], "cannot be read"),
        (["batch", "p.pdf"], "kind '.pdf'"),
        (["batch", "empty.txt"], "holds no prompts"),
        (["batch", "p.txt", "--seed", "random"], "find its pictures again"),
        (["batch", "p.txt", "--seed", "5..2"], "no range"),
        (["batch", "p.txt", "--sweep", "lr"], "no sweep"),
        (["batch", "p.txt", "--sweep", "nope=1"], "No such option"),
        (["batch", "p.txt", "--sweep", "lr=1", "--sweep", "lr=2"], "said twice"),
        (["batch", "p.txt", "--workers", "many"], "no number of processes"),
        (["batch", "p.txt", "--workers", "many", "--dry-run"], "no number of processes"),
        (["batch", "p.txt", "--workers", "0", "--dry-run"], "no number of processes"),
        (["batch", "p.txt", "--workers", "0", "--status"], "no number of processes"),
        (["batch", "p.txt", "--shard", "5/4", "--status"], "no part"),
        (["batch", "p.txt", "--shard", ""], "no part"),
        (["batch", "p.txt", "q.txt"], "one file"),
        (["batch", "p.txt", "--expand", "all", "--negative", "__nope__"], "no wildcard list 'nope'"),
    ],
)
def test_what_makes_no_sense_is_exit_2_and_a_sentence(vqclip, args, words) -> None:
    write("p.txt", "a castle\n")
    write("p.pdf", "a castle\n")
    write("empty.txt", "# nothing\n")
    code, out, err = vqclip(*args)
    assert (code, out) == (2, "") and words in err and "Traceback" not in err


def test_a_bug_in_a_job_shows_its_traceback_where_nothing_else_was_asked_for(vqclip, monkeypatch) -> None:
    file = write("fog.txt", "a castle\n")
    monkeypatch.setattr("vqclip.runs.picture.paint_picture", lambda *_, **__: 1 / 0)
    code, out, err = vqclip("batch", file)
    assert (code, out, err.count("Traceback")) == (3, "", 1) and "a bug: ZeroDivisionError" in err
    assert "Traceback" not in vqclip("batch", file, "--quiet")[2]
    code, out, err = vqclip("batch", file, "--json")
    assert code == 3 and "Traceback" not in out + err
    assert [json.loads(line)["event"] for line in out.splitlines()] == ["begin", "failed", "end"]
    assert "Traceback" not in "".join(path.read_text() for path in Path("outputs").rglob("*.json*"))
