import shlex
from pathlib import Path

import pytest
from door import Door
from PIL import Image

from vqclip.cli.aliases import old_spellings, rewrite
from vqclip.cli.main import build
from vqclip.errors import UsageError


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Door:
    monkeypatch.chdir(tmp_path)
    return Door(monkeypatch, capsys)


# The commands of the old README and of the scripts beside it, and the settings each must come to.
RUNS = {
    '-p "A painting of an apple in a fruit bowl"': {"prompt": "A painting of an apple in a fruit bowl"},
    '-p "A painting of an apple in a fruit bowl | psychedelic | surreal:0.5 | weird:0.25"': {
        "prompt": "A painting of an apple in a fruit bowl | psychedelic | surreal:0.5 | weird:0.25"
    },
    '-p "A picture of a bedroom with a portrait of Van Gogh" -ip "samples/VanGogh.jpg | samples/Bedroom.png:0.5"': {
        "image_prompts": ("samples/VanGogh.jpg", "samples/Bedroom.png:0.5")
    },
    '-p "A painting in the style of Picasso" -ii samples/VanGogh.jpg -i 80 -se 10 -opt AdamW -lr 0.25': {
        "init_image": "samples/VanGogh.jpg",
        "steps": 80,
        "optimizer": "adamw",
        "learning_rate": 0.25,
    },
    '-p="a door" -ii="f.png" -o="f.png" -i=25 -cd=cpu -sd=5': {"init_image": "f.png", "steps": 25, "seed": 5},
    '-p "x" -s 512 256': {"width": 512, "height": 256},
    '-p "x" --size 128 64': {"width": 128, "height": 64},
    '-p "x" -m ViT-B/32': {"clip": ("ViT-B-32/openai",)},
    '-p "x" -m ViT-L/14@336px': {"clip": ("ViT-L-14-336/openai",)},
    '-p "x" -conf checkpoints/v.yaml -ckpt checkpoints/v.ckpt': {
        "vqgan": "checkpoints/v.ckpt",
        "vqgan_config": "checkpoints/v.yaml",
    },
    '-p "x" -cuts 16 -cutp 0.5 -cutm latest': {"cutouts": 16, "cutout_power": 0.5, "cutout_method": "pooled"},
    '-p "x" -cutm original -in gradient': {"cutout_method": "crops", "init": "gradient"},
    '-p "x" -in pixels': {"init": "noise"},
    '-p "x" -aug Pe Ji -iw 0.5': {"jitter": 0.1, "perspective": 0.7, "rotation": 0.0, "init_weight": 0.5},
    '--prompts "x" --iterations 3 --init_image a.png --num_cuts 2 --optimiser RMSprop': {
        "prompt": "x",
        "steps": 3,
        "init_image": "a.png",
        "cutouts": 2,
        "optimizer": "rmsprop",
    },
}


@pytest.mark.parametrize("command", RUNS)
def test_old_commands_run(door: Door, command: str):
    Path("samples").mkdir()
    for name in ("samples/VanGogh.jpg", "samples/Bedroom.png", "f.png", "a.png"):
        Image.new("RGB", (16, 16)).save(name)
    ran = door(*shlex.split(command))
    assert ran.code == 0
    assert ran.settings.model_dump().items() >= RUNS[command].items()
    assert ran.delivery.output == ("f.png" if "-o=" in command else None)


# The lines of the old zoom.sh, as its shell hands them on; its seeds go beyond ours.
ZOOM_SH = (
    '-p="a | b" -opt="Adam" -lr=0.1 -i=25 -se=25 --seed=9999999999 -o="Zoom 1.png"',
    '-p="a | b" -opt="Adam" -lr=0.1 -i=25 -se=25 --seed=9999999999 -ii="Zoom 1.png" -o="Zoom 1.png"',
)


@pytest.mark.parametrize("command", ZOOM_SH)
def test_the_old_script_that_zooms_runs_as_it_stands(door: Door, command: str):
    Image.new("RGB", (16, 16)).save("Zoom 1.png")
    ran = door(*shlex.split(command))
    assert ran.code == 0, ran.err
    assert (ran.settings.seed, ran.settings.steps, ran.settings.learning_rate) == (9999999999 % 2**32, 25, 0.1)
    assert ran.settings.init_image == ("Zoom 1.png" if "-ii" in command else None)
    assert (ran.delivery.output, ran.delivery.save_every) == ("Zoom 1.png", 25)


def test_a_seed_beyond_the_last_one_is_taken_as_a_smaller_one_and_said(door: Door):
    for flag in ("-sd", "--seed"):
        ran = door("x", flag, str(2**32 + 7))
        assert ran.settings.seed == 7 and "note: --seed 4294967303 is taken as 7" in ran.err
    assert door("x", "-q", "--seed", str(2**32)).err == ""


def test_short_flags_of_ours_take_a_value_behind_an_equals_sign(door: Door):
    ran = door("x", "-o={n}.png", "-n=2", "-P=draft", "-s=64x48")
    assert ran.code == 0, ran.err
    assert [delivery.output for _, delivery in ran.painted] == ["{n}.png"] * 2
    assert (ran.painted[0][0].width, ran.painted[0][0].steps) == (64, door("x", "-P", "draft").settings.steps)
    door("-p=x", "-zvid", "-o=out.png")
    assert [delivery.output for delivery in door.painter.deliveries] == ["out.mp4"]


def test_the_two_numbers_of_a_size_are_joined_for_every_command_that_has_one():
    having = [name for name, one in build().commands.items() if any("--size" in param.opts for param in one.params)]
    assert {"generate", "again", "batch", "zoom", "film", "restyle"} <= set(having)
    for name in having:
        with build().make_context("vqclip", [name, "x", "--size", "64", "48"]) as context:
            assert "--size=64x48" in context.args, name


def test_old_delivery_flags_run(door: Door):
    delivery = door(*shlex.split("-p x -o out.png -se 50 -cd cuda:1 -d")).delivery
    assert (delivery.output, delivery.save_every, delivery.device) == ("out.png", 50, "cuda:1")
    assert delivery.deterministic


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ('-p "a ^ b"', "-zvid"),
        ("-p x -zvid -zsc much", "no number"),
        ("-p x -zvid -zse nan", "no number"),
        ("-p x -zvid -zs inf", "no number"),
        ("-p x -zvid -i abc", "no number"),
        ("-p x -vsd frames -i abc", "no number"),
        ('-p "a ^ b" -vsd frames', "no story"),
        ("-p x -nps 1 2 -npw 0.5 0.5", "noise prompts"),
        ("-p x -opt DiffGrad", "--optimizer adam"),
        ("-p x -opt AdamP", "--optimizer adam"),
        ("-p x -aug nothing", "known: Ji"),
    ],
)
def test_old_commands_not_served_yet_are_refused_with_what_to_use(door: Door, command: str, words: str):
    ran = door(*shlex.split(command))
    assert ran.code == 2
    assert words in ran.err
    assert "hint: " in ran.err
    assert not ran.painted


def test_augments_without_a_counterpart_are_left_out_with_a_note(door: Door):
    ran = door(*shlex.split("-p x -aug Af Er -i 5"))
    assert ran.settings.rotation == 15
    assert "-aug Er" in ran.err


def test_an_unknown_start_from_noise_is_painted_from_codes_with_a_note(door: Door):
    ran = door(*shlex.split("-p x -in snow"))
    assert ran.settings.init == "codes" and "note: -in snow: neither pixels nor gradient" in ran.err
    assert "neither" not in door(*shlex.split("-p x -in None")).err


OPTIONS_OF_OLD = shlex.split(
    "-p -ip -i -se -ii -in -iw -m -conf -ckpt -nps -npw -lr -cuts -cutp -cutm -sd -opt -vid -zvid -zs -zse -zsc "
    "-zsx -zsy -cpe -vl -ofps -ifps -d -aug -vsd -cd"
)


@pytest.mark.parametrize("flag", OPTIONS_OF_OLD)
def test_every_old_flag_is_known(flag: str):
    assert flag in set(old_spellings())


def test_values_and_what_follows_two_dashes_are_left_alone():
    take = frozenset({"--negative", "-o"})
    assert rewrite(["--negative", "-i", "-o", "-vid"], take_values=take).args == ["--negative", "-i", "-o", "-vid"]
    assert rewrite(["-p", "-vid", "--", "-i", "5"], take_values=take).args == ["--prompt=-vid", "--", "-i", "5"]
    assert rewrite(["--negative=-vid"], take_values=take).args == ["--negative=-vid"]
    assert rewrite(["-s", "512x384", "5"], take_values=take).args == ["--size=512x384", "5"]
    assert rewrite(["-s", "512"], take_values=take).args == ["--size=512"]


@pytest.mark.parametrize("flag", ["-p", "-i", "-aug", "-s"])
def test_an_old_flag_without_its_value_is_refused(door: Door, flag: str):
    ran = door("x", flag)
    assert ran.code == 2
    assert ran.err.startswith("error: ")


def test_refused_flags_say_so_however_they_are_written():
    with pytest.raises(UsageError, match="noise prompts"):
        rewrite(["--noise_prompt_seeds=1"], take_values=frozenset())


ZOOMS = {
    '-p "a sphere" -zvid -i 4500 -zse 20 -vl 10 -zsc 0.97 -opt Adagrad -lr 0.15': {
        "frames": 225,
        "fps": 22.5,
        "steps_per_frame": 20,
        "zoom": 0.97,
        "frame_learning_rate": 0.15,
    },
    '-p "a|photo:-1 ^ b ^ c" -cpe 1500 -zvid -i 6000 -zse 10 -vl 20 -zsc 1.005': {
        "frames": 600,
        "fps": 30.0,
        "story": ("b", "c"),
        "change_every": 150,
    },
    "-p x -o out.png -zvid -i 100 --zoom_start=20 -zsx 5 -zsy -2 -ofps 60": {
        "frames": 8,
        "fps": 60.0,
        "zoom": 0.99,
        "pan": (-5.0, 2.0),
        "rim": "wrap",
    },
}


@pytest.mark.parametrize("command", ZOOMS)
def test_old_zooms_become_films(door: Door, command: str):
    ran = door(*shlex.split(command))
    assert ran.code == 0, ran.err
    [(settings, film)] = ran.filmed
    assert film.model_dump().items() >= ZOOMS[command].items()
    assert not ran.painted and "vqclip zoom" in ran.err
    assert settings.prompt == ("a|photo:-1" if "photo" in command else shlex.split(command)[1])


@pytest.mark.parametrize("flag", ["-vsd frames", "--video_style_dir=frames"])
def test_an_old_folder_of_frames_is_restyled(door: Door, tmp_path: Path, flag: str):
    (tmp_path / "frames").mkdir()
    for number in (1, 2, 10):
        Image.new("RGB", (40, 30)).save(tmp_path / "frames" / f"frame{number}.png")
    old = f"-p x {flag} -i 25 -iw 0.5 -lr 0.2 -ifps 12 -ii frames/frame1.png -o out.png -s 64 48"
    ran = door(*shlex.split(old))
    assert ran.code == 0, ran.err
    [(settings, film)], [footage] = ran.filmed, door.painter.footage
    assert (settings.prompt, settings.width, settings.steps, settings.init) == ("x", 64, 25, "image")
    said = (film.frames, film.fps, film.steps_per_frame, film.source_weight, film.frame_learning_rate)
    assert said == (3, 12.0, 25, 0.5, 0.2) and "vqclip restyle" in ran.err
    assert [path.stem for path in footage.shown] == ["frame1", "frame2", "frame10"]


def test_an_old_making_of_is_filmed_with_its_length(door: Door):
    delivery = door(*shlex.split("-p x -vid -vl 6 -ofps 30")).delivery
    assert (delivery.video, delivery.video_seconds, delivery.fps) == (True, 6, 30)
    assert not door(*shlex.split("-p x -vl 6")).delivery.video
