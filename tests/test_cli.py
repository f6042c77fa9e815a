import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from door import RECIPE, Door, done, save_picture
from PIL import Image

from vqclip import errors
from vqclip.cli.doctor import CHECKS
from vqclip.cli.main import build
from vqclip.cli.options import FLAGS, read_flags
from vqclip.settings import Delivery, Settings
from vqclip.sinks.play import Interrupted
from vqclip.store import starter

ROOT = Path(__file__).parent.parent
ENTRY = "import sys; from vqclip.cli.main import main; sys.exit(main())"


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Door:
    monkeypatch.chdir(tmp_path)
    return Door(monkeypatch, capsys)


@pytest.mark.parametrize(
    ("args", "prompt"),
    [
        (["a castle in fog", "--steps", "5"], "a castle in fog"),
        (["--steps", "5", "a castle"], "a castle"),
        (["-s", "512", "384", "x"], "x"),
        (["generate", "a castle"], "a castle"),
        (["generate", "words"], "words"),
        (["--", "show"], "show"),
        (["--", "-s"], "-s"),
        (["--steps=5", "--", "--steps"], "--steps"),
        (["--steps", "5", "show"], "show"),
        (["zoo"], "zoo"),
        (["--prompt", "-x y"], "-x y"),
    ],
)
def test_the_prompt_comes_first_and_needs_no_command(door: Door, args: list[str], prompt: str):
    ran = door(*args)
    assert (ran.code, ran.settings.prompt) == (0, prompt)


def test_a_word_that_is_a_command_is_the_command(door: Door):
    ran = door("presets", "show", "fine")
    assert ran.code == 0
    assert "steps = 600" in ran.out
    assert not ran.painted


def test_a_near_miss_of_a_command_is_painted_with_a_note(door: Door):
    ran = door("preset", "--steps", "1")
    assert ran.settings.prompt == "preset"
    assert "vqclip presets" in ran.err


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--stps", "5", "x"], "--steps"),
        (["showw", "p.png"], 'put the prompt in quotes: vqclip "showw p.png"; did you mean `vqclip show`?'),
        (["a", "castle", "in", "fog"], 'put the prompt in quotes: vqclip "a castle in fog"'),
        ([""], "the prompt is empty"),
        (["  "], "the prompt is empty"),
        (["\x00\x1b"], "the prompt is empty"),
        (["--steps", "5"], "the prompt is empty"),
        (["--negative", "fog"], "the prompt is empty"),
        (["a | | b"], "empty part"),
        (["a castle", "--negative", "|"], "empty part"),
        (["x", "--prompt", "y"], "two prompts"),
        (["-p", "x", "-d", "True"], "two prompts: 'x' and 'True'"),
        (["x", "--clip", ""], "'' names no CLIP"),
        (["x", "--clip", ":2"], "':2' names no CLIP"),
        (["x", "--clip", "starter:1:0"], "'starter:1:0' gives a CLIP 0 of the cutouts, not a share above 0"),
        (["x", "--clip", "starter:1:1.5"], "gives a CLIP 1.5 of the cutouts, not a share above 0"),
        (["x", "--clip", "starter:1:-0.5"], "NAME:WEIGHT:0.25 shows it every fourth cutout"),
        (["resume", "nope.png"], "there is no saved state"),
        (["again", "a.png", "--stps", "5"], "hint: vqclip again --help"),
        (["models", "rm"], "hint: vqclip models rm --help"),
        (["x", "--stps"], "hint: vqclip --help"),
        (["x", "--preset", "drft"], "did you mean 'draft'?"),
        (["x", "--size", "3x"], "--size 512 384"),
        (["x", "--size", "8"], "width"),
        (["x", "--seed", "abc"], "no whole number"),
        (["x", "--seed", "-1"], "--seed"),
        (["x", "--steps", "-1"], "--steps"),
        (["x", "--steps", "many"], "--steps"),
        (["x", "--lr", "0"], "--lr"),
        (["x", "--tv", "nan"], "finite"),
        (["x", "--optimizer", "adm"], "'adam'"),
        (["x", "--init-noise", "pixels", "--init", "codes"], "--init-noise"),
        (["x", "--init", "codes", "--init-image", "a.png"], "leave one of them out"),
        (["x", "--init", "image"], "--init-image"),
        (["x", "--count", "0"], "at least one"),
        (["x", "--quality", "0"], "--quality"),
        (["x", "--save-every", "0"], "--save-every"),
        (["presets", "shw"], "show"),
        (["presets", "show", "nope"], "no preset"),
        (["show"], "PICTURE"),
        (["again", "a.png", "b.png"], "one picture"),
        (["scenes", "--count", "0"], "--count"),
    ],
)
def test_wrong_usage_exits_2_with_one_plain_sentence(door: Door, args: list[str], sentence: str):
    ran = door(*args)
    assert ran.code == 2
    assert sentence in ran.err
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") <= 2
    assert ran.out == ""
    assert not ran.painted


@pytest.mark.parametrize("error", errors.VqclipError.__subclasses__())
def test_every_error_has_its_exit_code_and_its_sentence(door: Door, error: type[errors.VqclipError]):
    def fail(settings: Settings) -> None:
        raise error("it broke", hint="mend it")

    door.painter.answer = fail
    ran = door("x", "-q")
    assert ran.code == error.exit_code
    assert ran.err == "error: it broke\nhint: mend it\n"
    assert door("x", "--json").err.endswith(f'{{"error": "it broke", "hint": "mend it", "code": {error.exit_code}}}\n')


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (KeyboardInterrupt(), 130),
        (Interrupted(signal.SIGTERM), 143),
        (Interrupted(signal.SIGINT), 130),
        (MemoryError(), 7),
    ],
)
def test_interrupts_and_a_full_memory_have_their_codes(door: Door, raised: BaseException, code: int):
    def fail(settings: Settings) -> None:
        raise raised

    door.painter.answer = fail
    assert door("x").code == code


def test_a_bug_shows_its_traceback_and_where_to_report_it(door: Door):
    door.painter.answer = lambda settings: 1 / 0
    ran = door("x")
    assert ran.code == 1
    assert "ZeroDivisionError" in ran.err
    assert "CONTRIBUTING.md" in ran.err


def test_a_stopped_picture_is_named_and_ends_the_run_with_the_signals_code(door: Door):
    door.painter.answer = lambda settings: done(settings, stopped=signal.SIGTERM)
    ran = door("x", "--count", "3", "--seed", "7")
    assert ran.code == 143
    assert ran.out == "outputs/7.png\n"


def test_stdout_holds_paths_and_nothing_else(door: Door):
    ran = door("x", "--count", "3", "--seed", "7")
    assert ran.code == 0
    assert ran.out == "outputs/7.png\noutputs/8.png\noutputs/9.png\n"
    assert "note: " in ran.err


def test_quiet_says_only_the_path(door: Door):
    ran = door("x", "-q", "--seed", "7")
    assert (ran.out, ran.err) == ("outputs/7.png\n", "")
    assert ran.delivery.quiet


def test_json_prints_one_object_for_each_picture(door: Door):
    ran = door("x", "--json", "--count", "2", "--seed", "7")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [line["seed"] for line in lines] == [7, 8]
    assert lines[0]["path"] == "outputs/7.png"
    assert lines[0]["settings"]["prompt"] == "x"


def test_a_place_that_cannot_be_written_is_told_before_anything_is_loaded(door: Door, tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    ran = door("x", "--output", str(tmp_path / "file" / "a.png"))
    assert ran.code == 6
    assert not ran.painted


def test_several_pictures_are_numbered(door: Door):
    ran = door("x", "--count", "2", "--output", "{n:03}.png")
    assert [delivery.number for _, delivery in ran.painted] == [1, 2]
    assert "002.png" in door("x", "--count", "2", "--output", "{n:03}.png", "--dry-run").err


def test_a_run_stopped_before_there_was_a_picture_names_none(door: Door):
    door.painter.answer = lambda settings: done(settings, stopped=signal.SIGINT, path=None)
    assert (door("x").code, door("x").out) == (130, "")
    assert json.loads(door("x", "--json").out)["path"] is None


def test_seeds_count_up_and_wrap_round(door: Door):
    ran = door("x", "-n", "3", "--seed", str(2**32 - 2))
    assert [settings.seed for settings, _ in ran.painted] == [2**32 - 2, 2**32 - 1, 0]


def test_a_random_seed_is_a_new_one_each_time(door: Door):
    runs = [door("x", "--seed", "random") for _ in range(4)]
    assert len({ran.settings.seed for ran in runs}) == 4
    assert all(f"note: seed {ran.settings.seed}\n" in ran.err for ran in runs)


def test_a_diverged_picture_does_not_stop_the_others(door: Door):
    def fail_once(settings: Settings) -> object:
        if settings.seed == 8:
            raise errors.DivergedError("no number any more")
        return done(settings)

    door.painter.answer = fail_once
    ran = door("x", "--count", "3", "--seed", "7")
    assert ran.code == 3
    assert ran.out == "outputs/7.png\noutputs/9.png\n"
    assert "1 of 3 pictures failed" in ran.err


def test_pictures_that_all_diverge_are_no_partial_success(door: Door):
    def fail(settings: Settings) -> object:
        raise errors.DivergedError("no number any more")

    door.painter.answer = fail
    assert door("x", "--count", "2").code == 8


def test_every_setting_and_delivery_has_a_flag():
    reached = {flag.name for flag in FLAGS} | {"prompt", "preview_every", "metadata", "number", "state", "job"}
    assert set(Settings.model_fields) | set(Delivery.model_fields) <= reached


def test_flags_reach_settings_and_delivery(door: Door):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (16, 16)).save(name)
    ran = door(
        *("x", "--negative", "fog", "--image-prompt", "a.png:0.5", "--image-prompt", "b.png", "--clip", "a:2"),
        *("--clip", "b", "--size", "512x384", "--height", "256", "--no-flip", "--init-noise", "pixels", "--lr", ".05"),
        *(
            "--optimizer",
            "AdamW",
            "--private",
            "--preview",
            "p.png",
            "--save-every",
            "5",
            "-o",
            "out.webp",
            "--threads",
            "1",
        ),
    )
    said = ran.settings.model_dump(exclude_unset=True)
    assert said["negative"] == "fog"
    assert said["image_prompts"] == ("a.png:0.5", "b.png")
    assert said["clip"] == ("a:2", "b")
    assert (said["width"], said["height"]) == (512, 256)
    assert (said["flip"], said["init"], said["learning_rate"], said["optimizer"]) == (False, "noise", 0.05, "adamw")
    assert ran.delivery.metadata == "private"
    assert (ran.delivery.preview, ran.delivery.save_every, ran.delivery.output) == ("p.png", 5, "out.webp")
    assert ran.delivery.threads == 1


def test_what_is_not_said_is_not_set(door: Door):
    said = read_flags({flag.name: None for flag in FLAGS})
    assert said.settings == {}
    assert said.delivery.model_dump(exclude_unset=True) == {}


def test_flags_win_over_the_preset(door: Door):
    ran = door("x", "--preset", "crowson", "--cutouts", "3")
    assert (ran.settings.cutouts, ran.settings.cutout_method) == (3, "crops")


@pytest.mark.parametrize(
    ("data", "prompt"), [(b"a castle\n", "a castle"), ("\ufeffcaf\u00e9\r\nfog".encode(), "caf\u00e9  fog")]
)
def test_a_dash_reads_the_prompt_from_standard_input(
    door: Door, monkeypatch: pytest.MonkeyPatch, data: bytes, prompt: str
):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert door("-").settings.prompt == prompt


def test_standard_input_that_is_no_text_is_refused(door: Door, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9")))
    ran = door("-")
    assert ran.code == 2
    assert "byte 3" in ran.err


def test_the_prompt_is_repaired_before_anything_sees_it(door: Door):
    assert door("cafe\u0301 \udcf0\udc9f\udc8f\udcb0\x1b").settings.prompt == "caf\u00e9 \U0001f3f0"


def test_a_weight_that_looks_like_text_is_pointed_out(door: Door):
    assert r"write \: for its colon" in door("a clock at 12:30").err


@pytest.mark.parametrize("evil", ["[/nope]", "[bold]x[/bold]", "\x1b[2J", "\u202egnp", "\x9b31m", "\udce9"])
def test_nothing_from_the_outside_steers_the_terminal(door: Door, evil: str):
    ran = door("x", "--preset", evil)
    assert ran.code == 2
    assert not set(ran.err) & set("\x1b\x9b\u202e\udce9")
    if evil.isascii() and evil.isprintable():
        assert evil in ran.err


def test_a_dry_run_shows_the_plan_and_paints_nothing(door: Door):
    ran = door("a castle", "--dry-run", "--output", "out/{slug}.png")
    assert (ran.code, ran.out, ran.painted) == (0, "", [])
    assert "a-castle.png" in ran.err
    plans = [
        json.loads(line)["plan"]
        for line in door("a castle", "--dry-run", "--json", "-n", "2", "--seed", "7").out.splitlines()
    ]
    assert [plan["seed"] for plan in plans] == [7, 8]


def test_no_arguments_show_the_help_on_stderr(door: Door):
    ran = door()
    assert (ran.code, ran.out) == (2, "")
    assert "--steps" in ran.err


def test_the_root_help_shows_the_flags_of_generate_in_panels_and_the_exit_codes(door: Door):
    out = door("--help").out
    for text in ("Usage: vqclip", "What to paint", "--steps", "model's own", "Examples", "130 Ctrl-C", "again"):
        assert text in out
    assert "--prompt" not in out


@pytest.mark.parametrize("name", list(build().commands))
def test_every_command_explains_itself(door: Door, name: str):
    for flag in ("--help", "-h"):
        ran = door(name, flag)
        assert ran.code == 0
        assert build().commands[name].get_short_help_str(40)
        assert "Usage: vqclip" in ran.out


def test_every_flag_is_explained():
    assert all(flag.help for flag in FLAGS)


def test_words_lists_what_the_starter_knows(door: Door):
    out = door("words").out
    assert [line for line in out.splitlines() if not line.startswith(" ")] == [
        f"{kind}:" for kind in ("subjects", "times", "weathers", "styles", "colors", "grounds")
    ]
    for line in ("  castle: fortress, palace", "  balloon: hot air balloon, air balloon", "  tree"):
        assert f"\n{line}\n" in out
    assert "castle" in json.loads(door("words", "--json").out)


def test_scenes_renders_a_sheet_that_its_seed_repeats(door: Door, tmp_path: Path):
    first = door("scenes", "--count", "2", "--out", str(tmp_path / "a.png")).out.strip()
    again = door("scenes", "--count", "2", "--out", str(tmp_path / "a.png")).out.strip()
    assert (first, again) == (str(tmp_path / "a.png"), str(tmp_path / "a-2.png"))
    assert Path(first).read_bytes() == Path(again).read_bytes()
    with Image.open(first) as sheet:
        assert sheet.getbbox() is not None


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ([], 0),
        ([errors.ModelError("gone"), errors.OutputError("full")], 4),
        ([errors.OutputError("full"), RuntimeError("\x1b")], 6),
        ([ImportError("x")], 2),
    ],
)
def test_doctor_exits_with_the_code_of_what_is_wrong(
    door: Door, monkeypatch: pytest.MonkeyPatch, broken: list[Exception], code: int
):
    def check(error: Exception | None) -> str:
        if error:
            raise error
        return "fine"

    checks = [(f"part {n}", lambda error=error: check(error)) for n, error in enumerate([None, *broken])]
    monkeypatch.setattr("vqclip.cli.doctor.CHECKS", tuple(checks))
    ran = door("doctor")
    assert ran.code == code
    assert len(ran.out.splitlines()) == 1 + len(broken)
    assert "\x1b" not in ran.out


@pytest.mark.parametrize("part", ["vqgan", "clip", "prior"])
@pytest.mark.parametrize("cut", [4, 1500, -1])
def test_doctor_finds_a_starter_that_is_cut_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part: str, cut: int):
    whole = starter.starter_path
    (tmp_path / "cut").write_bytes(whole(part).read_bytes()[:cut])
    monkeypatch.setattr(starter, "starter_path", lambda name: tmp_path / "cut" if name == part else whole(name))
    with pytest.raises(errors.ModelError, match=f"the starter's {part} is damaged"):
        dict(CHECKS)["starter"]()
    monkeypatch.undo()
    assert part in dict(CHECKS)["starter"]()


def test_help_and_all_that_only_looks_never_load_torch(tmp_path: Path):
    recipe = {**RECIPE, "capability": "AVX9", "device": "cpu"}
    picture = str(save_picture(tmp_path / "a.png", recipe))
    calls = [
        ["--help"],
        ["x", "--dry-run"],
        ["again", "--help"],
        ["again", picture, "--dry-run"],
        ["zoom", "x", "--dry-run"],
        ["--version"],
        ["presets"],
        ["words"],
        ["show", picture],
        ["x", "--stps"],
    ]
    code = f"import sys; from vqclip.cli.main import main; list(map(main, {calls!r})); sys.exit('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr


def test_help_loads_no_room_below_the_command_line():
    code = "import sys; from vqclip.cli.main import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    ours = {name for name in ran.stderr.split() if name.startswith("vqclip.")}
    rooms = {name.split(".")[1] for name in ours}
    assert not rooms & {
        "ops",
        "models",
        "store",
        "starter",
        "engine",
        "train",
        "sinks",
        "runs",
        "filmfile",
        "expressions",
    }
    assert len(ours) <= 42, sorted(ours)
    assert not {"numpy", "PIL", "platformdirs", "av", "huggingface_hub"} & set(ran.stderr.split())


def test_python_can_run_the_package_by_its_name():
    ran = subprocess.run([sys.executable, "-m", "vqclip", "--version"], capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0 and ran.stdout.startswith("vqclip ")
    ran = subprocess.run([sys.executable, "-m", "vqclip", "show", "nope.png"], capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 5 and ran.stderr.startswith("error: ")


def test_the_shell_completes_commands_and_flags():
    environment = {
        **os.environ,
        "_VQCLIP_COMPLETE": "complete_bash",
        "COMP_WORDS": "vqclip 'a castle' --st",
        "COMP_CWORD": "2",
    }
    ran = subprocess.run([sys.executable, "-c", ENTRY], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert ran.stdout.split() == ["--steps", "--state-every"]


def test_a_reader_that_goes_away_is_no_bug():
    reader, writer = os.pipe()
    os.close(reader)
    args = [sys.executable, "-c", ENTRY, "words"]
    ran = subprocess.run(args, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (141, "")


def test_a_poor_locale_does_not_lose_the_prompt():
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    args = [sys.executable, "-c", ENTRY, "x", "--preset", "caf\u00e9 \U0001f3f0"]
    ran = subprocess.run(args, capture_output=True, env=environment, cwd=ROOT)
    assert ran.returncode == 2
    assert b"there is no preset" in ran.stderr
