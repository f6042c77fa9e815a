"""Memory and time before the work: from shapes and measured rates, and settings that fit into what is free."""

import json
from pathlib import Path

import pytest
import torch
from door import Door
from safetensors.torch import save_file

from vqclip.cli.main import main
from vqclip.configs import VQGANConfig
from vqclip.engine.thrift import Thrift
from vqclip.errors import MemoryFullError, ModelError
from vqclip.runs import estimate as room
from vqclip.runs.bench import Row
from vqclip.runs.clock import Clock
from vqclip.runs.estimate import estimate, fit, in_words, key_of, work_of
from vqclip.runs.free import free_memory
from vqclip.runs.plan import resolve
from vqclip.runs.rates import Measured, predict, recall, remember
from vqclip.runs.workload import clip_cost, decoder_cost
from vqclip.settings import Delivery, Settings
from vqclip.store.outline import clip_outline, vqgan_outline

CPU = Delivery(device="cpu", threads=1)
MB = 2**20


def settings(**more):
    return resolve(Settings.make({"prompt": "a castle", "seed": 1, "dtype": "bfloat16", **more}))[0]


def big(**more):
    return settings(vqgan="imagenet-f16-16384", width=512, height=512, **more)


@pytest.mark.parametrize("side, gflop", [(256, 452), (512, 1829), (1024, 7624)])
def test_the_work_of_the_standard_decoder_is_what_was_counted(side, gflop):
    cost = decoder_cost(VQGANConfig(), (side // 16, side // 16), itemsize=2, lean=False, encoder=False)
    assert 2 * cost.gflop == pytest.approx(gflop, rel=0.03)


def test_a_clip_that_sees_a_share_of_the_cutouts_costs_that_share():
    whole, half = (work_of(big(cutouts=32, clip=[f"ViT-B-32/openai:1:{share}"])) for share in (1, 0.5))
    assert half.look == whole.look / 2 and half.decode == whole.decode and half.model_bytes == whole.model_bytes
    both = work_of(big(cutouts=32, clip=["ViT-B-32/openai:1:0.75", "ViT-B-32/openai:1:0.25"]))
    assert both.look == pytest.approx(whole.look)


def test_the_work_of_the_standard_clip_is_what_was_counted():
    assert 32 * 2 * clip_cost(clip_outline("ViT-B/32"), itemsize=2).gflop == pytest.approx(567, rel=0.03)


def test_shapes_come_from_headers_or_names_and_are_unknown_else(tiny_models, tmp_path):
    assert vqgan_outline("starter").stride == 8 and clip_outline("starter")["vision_cfg"]
    assert vqgan_outline(str(tiny_models.vqgan)).multipliers == (1, 1, 1)
    assert clip_outline(str(tiny_models.clip))["embed_dim"] == 16
    assert vqgan_outline("imagenet-f16-1024").codes == 1024 and vqgan_outline("gumbel-f8-8192").stride == 8
    broken = tmp_path / "model.safetensors"
    broken.write_bytes(b"\xff" * 40)
    assert vqgan_outline(str(broken)) is None and clip_outline(str(broken)) is None
    assert clip_outline("no-such-clip/tag") is None
    assert estimate(settings(vqgan=str(broken), init="codes"), CPU) is None


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"channels": 10**12, "multipliers": [1]}, "channels is 1000000000000"),
        ({"multipliers": "many"}, "multipliers is 'many'"),
        ({"multipliers": []}, "multipliers is"),
        ({"codes": {"a": 1}}, "codes is"),
        (["channels"], "no config"),
        (None, "no config"),
    ],
)
def test_a_hostile_header_costs_a_sentence_before_anything_is_loaded(config, said, tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"vqclip": json.dumps({"format": "x", "config": config})})
    with pytest.raises(ModelError, match=said):
        vqgan_outline(str(path))
    with pytest.raises(ModelError, match=r"CLIP config"):
        clip_outline(str(path))
    for flags in (["--vqgan", str(path)], ["--clip", str(path)]):
        assert main(["a castle", "--dry-run", *flags]) == 4
        said_there = capsys.readouterr().err
        assert said_there.count("error: ") == 1 and "Traceback" not in said_there


def test_a_picture_of_2048_pixels_is_foretold_to_fit_into_eight_gigabytes():
    job = settings(vqgan="imagenet-f16-16384", clip=["ViT-B-32/openai"], width=2048, height=2048, cutouts=32)
    assert job.lean and estimate(job, CPU).memory < 8e9


def test_what_was_measured_is_as_near_to_what_was_foretold_as_is_promised():
    rows = json.loads((Path(__file__).parents[1] / "benchmarks/results/estimates.json").read_text())["rows"]
    assert len(rows) == 12
    assert max(abs(row["memory_error"]) for row in rows) <= 0.15
    assert max(abs(row["time_error"]) for row in rows) <= 0.25


def test_thrift_costs_less_memory_and_no_other_work():
    plain, few, lean = (work_of(big(**more)) for more in ({}, {"micro_batch": 4}, {"lean": True}))
    assert few.step_bytes < plain.step_bytes and lean.step_bytes < 0.8 * plain.step_bytes
    assert (few.decode, few.look) == (plain.decode, plain.look)
    assert 1.5 * plain.decode < lean.decode < 2 * plain.decode and lean.look == plain.look


def test_decoder_and_clip_get_the_rates_that_were_measured():
    known = [Measured(100, 10, 100 / 50 + 10 / 20), Measured(100, 40, 100 / 50 + 40 / 20)]
    assert predict(300, 80, known) == pytest.approx(300 / 50 + 80 / 20)
    assert predict(50, 5, known[:1]) == pytest.approx(known[0].seconds / 2)


def test_measurements_are_kept_and_a_damaged_cache_is_no_matter(tmp_path):
    path = tmp_path / "deep" / "rates.json"
    for seconds in range(1, 40):
        remember("key", Measured(1.0, 2.0, float(seconds)), path)
    assert [one.seconds for one in recall("key", path)] == list(range(16, 40)) and recall("other", path) == []
    path.write_text(json.dumps({"key": [{"decode": "x"}, 3, {"decode": 1, "look": 1, "seconds": 0}]}))
    assert recall("key", path) == []
    path.write_text("{")
    remember("key", Measured(1.0, 1.0, 1.0), path)
    assert len(recall("key", path)) == 1
    remember("key", Measured(1.0, 1.0, 1.0), tmp_path / "deep" / "rates.json" / "in-a-file")


def test_a_guess_says_that_it_is_one_and_a_measured_run_ends_that(monkeypatch, tmp_path):
    monkeypatch.setattr("vqclip.runs.rates.cache_folder", lambda: tmp_path)
    job = settings()
    assert not estimate(job, CPU).measured and "guess" in in_words(estimate(job, CPU))["time"]
    work = work_of(job)
    remember(key_of(job, CPU), Measured(work.decode, work.look, 0.5))
    found = estimate(job, CPU)
    assert found.measured and found.step == pytest.approx(0.5)
    # most of the steps are painted at half the size
    assert 0.5 * (1 - job.coarse) * job.steps < found.total < 0.5 * job.steps


def test_fitting_saves_on_views_then_remembers_less_then_paints_smaller():
    def fitted(megabytes):
        said = []
        return fit(big(), CPU, said.append, free=megabytes * MB), said

    enough = work_of(big())
    plenty = (enough.bytes + room.LOADED) / room.MARGIN / MB
    same, said = fitted(plenty + 1)
    assert same == big() and said == []
    few, said = fitted(plenty - 50)
    assert few.micro_batch == 16 and not few.lean and len(said) == 1
    lean, said = fitted(plenty - 650)
    assert lean.lean and lean.width == 512 and len(said) == 2
    small, said = fitted(plenty - 1000)
    assert small.lean and small.width < 512 and len(said) == 3 and all(text.startswith("--fit: ") for text in said)
    with pytest.raises(MemoryFullError) as caught:
        fitted(100)
    assert caught.value.exit_code == 7 and caught.value.hint


def test_what_is_free_is_the_least_of_machine_and_container(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    assert free_memory(tmp_path) == 8000 * 1024
    write("sys/fs/cgroup/memory.max", "max")
    write("sys/fs/cgroup/memory.current", "6000000")
    assert free_memory(tmp_path) == 8000 * 1024
    write("sys/fs/cgroup/memory.max", "7000000")
    write("sys/fs/cgroup/memory.stat", "anon 5\ninactive_file 250000\n")
    assert free_memory(tmp_path) == 1_250_000
    assert free_memory(tmp_path / "nowhere") is None


def test_a_limit_on_the_process_counts_too(monkeypatch, tmp_path):
    import resource

    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "status").write_text("Name:\tpython\nVmSize:\t 300 kB\nVmData:\t 100 kB\n")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (400 * 1024, -1))
    assert free_memory(tmp_path) == 100 * 1024


def test_the_plan_shows_memory_and_time(monkeypatch, capsys):
    door = Door(monkeypatch, capsys)
    ran = door("a castle", "--dry-run", "--seed", "1")
    assert ran.code == 0 and not ran.painted
    assert "memory" in ran.err and "GB" in ran.err and "s a step" in ran.err
    monkeypatch.setattr(room, "free_on", lambda device: 250 * MB)
    ran = door("a castle", "--dry-run", "--seed", "1", "--fit", "--size", "1024", "--json", "--dtype", "bfloat16")
    plan = json.loads(ran.out)["plan"]
    assert plan["width"] < 1024 and plan["lean"] and "--fit: " in ran.err


def test_all_pictures_of_a_batch_take_the_most_memory_and_the_time_of_each():
    jobs = [big(), big(seed=2, prompt="fog"), settings()]
    alone, found = [estimate(job, CPU) for job in jobs], room.estimate_all(jobs, CPU)
    assert found.memory == alone[0].memory and found.total == pytest.approx(sum(one.total for one in alone))
    assert alone[2].step < found.step < alone[0].step and found.measured == all(one.measured for one in alone)
    assert room.estimate_all([], CPU) is None


def test_the_plan_of_a_batch_shows_memory_and_time(tmp_path, capsys):
    (tmp_path / "p.txt").write_text("a castle --count 2\nfog\n", encoding="utf-8")
    command = ["batch", str(tmp_path / "p.txt"), "--dry-run", "-o", str(tmp_path / "out")]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "note: 3 pictures\nmemory  about " in said and "s a step" in said
    assert main([*command, "-q"]) == 0 and capsys.readouterr().err == ""


def test_a_picture_fits_itself_and_is_finished(tiny_models, tmp_path, monkeypatch):
    from vqclip.runs.picture import paint_picture

    job = resolve(Settings.make(tiny_models.settings(width=256, height=256, steps=7)))[0]
    work = work_of(job)
    free = (room.LOADED + work.bytes) / room.MARGIN - MB
    monkeypatch.setattr(room, "free_on", lambda device: free)
    said = []
    delivery = Delivery(output=f"{tmp_path}/", device="cpu", threads=1, quiet=True, fit=True)
    done = paint_picture(job, delivery, on_note=said.append)
    assert done.path.is_file() and done.steps_done == 7
    assert done.settings.lean and any("--fit" in text for text in said)
    # seven steps are enough to know this machine's speed
    assert recall(key_of(done.settings, delivery))


def test_what_a_thriftier_run_took_is_not_kept(own_cache):
    job, thrift = settings(), Thrift()
    clock = Clock(job, CPU, thrift)
    clock._times = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    thrift.said.append("out of memory")
    clock.close()
    assert not recall(key_of(job, CPU))
    thrift.said.clear()
    clock.close()
    assert recall(key_of(job, CPU))


def test_too_few_steps_are_not_kept(own_cache):
    clock = Clock(settings(), CPU)
    clock.close()
    assert clock.seconds is None


def test_a_row_of_the_table_says_how_far_off_the_estimates_were():
    row = Row("starter", "256x256", 24, 2.0, 1000.0, 1.5, 1100.0)
    assert row.errors == (-0.25, pytest.approx(0.1)) and row.as_dict()["time_error"] == -0.25
    assert Row("starter", "256x256", 24, 2.0, 1000.0, None, None).errors == (None, None)


def test_bench_measures_in_a_process_of_its_own_and_prints_a_table(tiny_models, monkeypatch, capsys):
    from vqclip.cli.main import main
    from vqclip.runs import bench

    job = resolve(Settings.make(tiny_models.settings()))[0]
    lost = job.changed(vqgan=str(tiny_models.vqgan.with_name("none.safetensors")))
    monkeypatch.setattr(bench, "trials", lambda models: [job, lost])
    code = main(["bench", "--json", "--steps", "3", "--threads", "1", "--device", "cpu"])
    out, err = capsys.readouterr()
    row = json.loads(out)
    assert row["size"] == "32x32" and row["seconds"] > 0 and row["bytes"] > 50 * MB
    machine = row["machine"]
    assert machine["device"] == "cpu" and machine["threads"] == 1 and machine["dtype"] == "float32"
    assert machine["processor"] and machine["torch"] == torch.__version__
    assert code != 0 and "none.safetensors" in err


def test_the_table_of_bench_has_a_line_for_each_measurement(tiny_models, tmp_path, monkeypatch, capsys):
    from vqclip.runs import bench

    job = resolve(Settings.make(tiny_models.settings()))[0]
    monkeypatch.setattr(bench, "trials", lambda models: [job])
    monkeypatch.setattr(bench, "measure", lambda *_, **__: {"seconds": 0.25, "bytes": 2e9, "machine": {}})
    monkeypatch.setattr("vqclip.runs.rates.cache_folder", lambda: tmp_path)
    lines = []
    for _ in range(2):
        assert main(["bench", "--device", "cpu", "--threads", "1"]) == 0
        lines.append(capsys.readouterr().out.splitlines())
    (header, first), (_, second) = lines
    assert header.split() == ["model", "size", "cuts", "s/step", "off", "by", "memory", "off", "by"]
    assert all(word in first for word in ("32x32", "0.250", "2.00 GB")) and first.count("%") == 1
    assert "+0%" in second  # what was measured the first time is the estimate of the second


def test_a_graph_and_cutouts_of_changing_shapes_do_not_go_together(tiny_models, tmp_path):
    from vqclip.errors import UsageError
    from vqclip.runs.picture import paint_picture

    delivery = Delivery(output=f"{tmp_path}/", device="cpu", graph=True, quiet=True)
    with pytest.raises(UsageError, match="fixed shapes"):
        paint_picture(settings(cutout_method="crops"), delivery, on_note=print)


def test_a_plan_counts_what_the_prior_takes():
    def seconds(**said):
        return estimate(resolve(Settings.make({"prompt": "a", **said}))[0], CPU).total

    alone = seconds(sketches=1, sketch_again=0)
    assert seconds(sketches=1, sketch_again=2) > alone and seconds(sketches=8, sketch_again=0) > alone
    assert seconds(sketches=8, sketch_again=2) > seconds(sketches=8, sketch_again=0)
    assert seconds(steps=0, sketches=8, sketch_again=2) == seconds(steps=0, sketches=8, sketch_again=0) > 0
    assert seconds(init="codes", sketches=8) == seconds(init="codes", sketches=1)
