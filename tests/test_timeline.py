import re
from pathlib import Path

import pytest

from vqclip.errors import UsageError
from vqclip.expressions import FUNCTIONS
from vqclip.filmfile import read_film_file, tell_story
from vqclip.films import FilmSettings
from vqclip.keyframes import EASINGS
from vqclip.planner import plan_film
from vqclip.shotlist import BEATS, LEVELS, TIME, Heard, ShotList
from vqclip.timeline import Camera, Paint, Scene, Timeline
from vqclip.tomlplaces import key_places

ROOT = Path(__file__).parent.parent
DEFAULTS = {"steps": 5, "learning_rate": 0.02, "cutouts": 16, "tv": 1.0}
ONE = '[[scene]]\nprompt = "a castle"\n'


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "film.toml"
        path.write_text(text, encoding="utf-8")
        return read_film_file(path)

    return read


@pytest.fixture
def plan(read):
    def plan(text, heard=None):
        return plan_film(read(text), defaults=DEFAULTS, heard=heard)

    return plan


def test_a_film_of_one_scene_needs_nothing_but_its_prompt(plan):
    shots, film = plan(ONE)
    assert film.frames == 240 == len(shots.shares) and film.zoom == 1
    assert [scene.prompt for scene in shots.scenes] == ["a castle"]
    assert {name: values[7] for name, values in shots.curves.items()} == {
        **dict.fromkeys(("pan_x", "pan_y", "rotate", "shear_x", "shear_y", "tilt_x", "tilt_y"), 0),
        **{"zoom": 1, "steps": 5, "learning_rate": 0.02, "cutouts": 16, "tv": 1},
    }


def test_the_curves_of_a_scene_hold_for_it_and_turn_into_each_other_in_the_fade(plan):
    shots, _ = plan(
        'fps = 10\n[camera]\nzoom = 1.1\n[[scene]]\nprompt = "a"\nseconds = 1\n'
        '[[scene]]\nprompt = "b"\nseconds = 2\nfade = 0.9\neasing = "linear"\nseed = 4\n'
        'camera = { zoom = "1.2 + s / 100" }\n'
    )
    zoom = shots.curves["zoom"]
    assert shots.shares[:11] == pytest.approx([1.0] * 10 + [0.1]) and shots.shares[19:] == (1.0,) * 11
    assert set(zoom[:10]) == {1.1} and zoom[29] == pytest.approx(1.219)
    assert zoom[14] == pytest.approx(1.1 + (1.204 - 1.1) * 0.5)
    assert [shots.scene_at(n) for n in (0, 9, 10, 29)] == [0, 0, 1, 1]
    assert [(scene.first, scene.seed) for scene in shots.scenes] == [(0, None), (10, 4)]


def test_formulas_know_time_frame_and_place(plan):
    shots, _ = plan('frames = 48\n[paint]\nsteps = "frame % 3"\ncutouts = "1 + scene + 10 * p"\n' + ONE * 2)
    assert shots.curves["steps"][:4] == (0, 1, 2, 0)
    assert shots.curves["cutouts"][0] == 1 and shots.curves["cutouts"][24] == 2 and shots.curves["cutouts"][23] == 11


def test_beats_come_from_the_sound_or_from_bpm(plan):
    camera = '[camera]\npan_x = "beat"\npan_y = "beats"\n'
    shots, film = plan("bpm = 120\nframes = 24\n" + camera + ONE)
    assert shots.curves["pan_x"][:13] == pytest.approx([1 - n / 12 for n in range(12)] + [1])
    assert shots.curves["pan_y"][11:13] == (1, 2)
    heard = Heard(2.0, (0.5, 1.0), {"bass": (0.0, 0.5, 1.0)})
    shots, film = plan(camera + '[paint]\nsteps = "4 * bass"\n' + ONE, heard)
    assert film.frames == 48 and shots.curves["pan_x"][11:13] == (0, 1) and shots.curves["steps"][:4] == (0, 2, 4, 0)
    with pytest.raises(UsageError) as caught:
        plan(camera + ONE)
    assert "bpm = 120" in caught.value.hint


def test_weights_are_curves_of_the_parts_of_a_prompt(plan):
    shots, _ = plan('fps = 4\nseconds = 2\n[[scene]]\nprompt = "a | b:0.5"\nweights = [1, "s"]\n')
    assert shots.weights(0, 2) == [1, 0.5]
    assert plan(ONE)[0].weights(0, 2) is None


def test_a_shot_list_survives_json_and_is_a_table_too(plan):
    shots, _ = plan("frames = 5\n" + ONE + 'weights = ["1 + p"]\n')
    assert ShotList.model_validate_json(shots.model_dump_json()) == shots
    lines = shots.table().splitlines()
    assert len(lines) == 6 and lines[0].startswith("frame,seconds,scene,share,zoom")
    assert lines[1].startswith("0,0.000,1,1,")


def test_a_loop_paints_some_frames_more(plan):
    shots, film = plan("frames = 72\nloop = true\n" + ONE)
    assert (film.frames, film.loop, len(shots.shares)) == (72, 24, 96)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "film.toml: there are no scenes", "[[scene]]"),
        ("a = [", "film.toml: not a TOML file", "film-files.md"),
        ("\nfsp = 2\n" + ONE, "film.toml:2: unknown setting 'fsp'", "did you mean 'fps'?"),
        (ONE + "\n[[scene]]\npromt = 'b'", "film.toml:5: scene 2: unknown setting 'promt'", "did you mean 'prompt'?"),
        ("[camera]\nzom = 2\n" + ONE, "film.toml:2: camera: unknown setting 'zom'", "did you mean 'zoom'?"),
        (ONE + "[scene.paint]\nstep = 2", "film.toml:4: scene 1 paint: unknown setting 'step'", "'steps'"),
        ("[picture]\nwidht = 9\n" + ONE, "film.toml:2: picture: unknown setting 'widht'", "'width'"),
        ("[picture]\nwidth = 9\n" + ONE, "film.toml:2: picture: width = 9", None),
        ("[picture]\nprompt = 'a'\n" + ONE, "film.toml:2: picture: prompt belongs into a [[scene]]", None),
        ("camera = 3\n" + ONE, "film.toml:1: 'camera' is a table", None),
        ("scene = [1]", "film.toml:1: scene 1: 'scene' is a table", None),
        ("seconds = 3\nframes = 4\n" + ONE, "both say how long", None),
        ("seconds = 'x'\n" + ONE, "film.toml:1: seconds = 'x'", None),
        ("seconds = 1e-9\n" + ONE, "film.toml:1: a film needs at least one frame", None),
        ("seconds = 3\n" + ONE + "seconds = 4", "film.toml:1: the scenes take 4 s, but the film lasts 3 s", None),
        (ONE + "fade = 1", "nothing before the first scene", None),
        ("frames = 48\n" + ONE * 2 + "fade = 2", "film.toml:6: scene 2: the fade of 2 s is longer", None),
        (ONE + "easing = 'sin'", "no easing 'sin'", "did you mean 'sine'?"),
        ("[[scene]]\nseconds = 2", "film.toml:1: scene 1: it has no prompt", None),
        ("[[scene]]\nprompt = 'a | | b'", "film.toml:2: scene 1: the prompt", None),
        (ONE + "weights = [1, 2]", "film.toml:3: scene 1: 1 part of the prompt, but weights: 2", None),
        ("preset = 'drafd'\n" + ONE, "there is no preset 'drafd'", "did you mean 'draft'?"),
        ("preset = '../x.toml'\n" + ONE, "no name of a preset", None),
        ("sound = '../x.wav'\n" + ONE, "outside its own folder", "beside it"),
        (ONE + "image_prompts = ['/etc/x.png']", "outside its own folder", None),
        ("[camera]\nzoom = '2 + t'\n" + ONE, "film.toml:2: camera: zoom is 2.04167 at frame 1 (0.04 s)", "0.5 and 2"),
        ("[camera]\nzoom = '0.9 + sqrt(1 - t)'\n" + ONE, "(frame 25, 1.04 s)", None),
        ("[camera]\nzoom = \"exec('1')\"\n" + ONE, "film.toml:2: camera: zoom:", None),
        (ONE + "camera = { zoom = [[0, 1], [1, 2, 'smoot']] }", "film.toml:3: scene 1 camera: zoom:", "'smooth'"),
        ("[paint]\nlearning_rate = 0\n" + ONE, "film.toml:2: paint: learning_rate is 0", None),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(plan, text, message, hint):
    with pytest.raises(UsageError) as caught:
        plan(text)
    assert message in caught.value.message
    assert hint is None or hint in caught.value.hint


def test_places_of_keys_are_found_in_every_kind_of_table():
    text = 'fps = 1\n[camera]\n"zoom" = 2\n[[scene]]\na.b = 1\n[scene.camera]\nzoom = 1\n'
    text += '[[scene]]\n# x = 1\n  prompt = "a"\n'
    found = key_places(text)
    assert found["fps",] == (1, 1) and found["camera", "zoom"] == (3, 1) and found["scene", 0, "a", "b"] == (5, 1)
    assert found["scene", 0, "camera", "zoom"] == (7, 1) and found["scene", 1, "prompt"] == (10, 3)


def test_a_file_of_another_editor_is_read_the_same(read, tmp_path):
    """With a byte order mark and the line ends of Windows."""
    text = "fps = 12\n[camera]\nzoom = 1.1\n" + ONE + 'weights = ["1 + p"]\n'
    plain = read(text)
    path = tmp_path / "film.toml"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_film_file(path) == plain
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("zoom", "zom").replace("\n", "\r\n").encode())
    with pytest.raises(UsageError, match=r"film.toml:3: camera: unknown setting 'zom'"):
        read_film_file(path)


def test_files_beside_a_film_are_found_and_its_settings_are_a_pictures(read, tmp_path):
    text = 'sound = "a.wav"\npreset = "draft"\n[picture]\nwidth = 64\n'
    found = read(text + ONE + 'image_prompts = ["s.png:2"]\nseed = 3')
    assert found.sound == tmp_path / "a.wav"
    assert found.timeline.scene[0].image_prompts == (f"{tmp_path / 's.png'}:2",)
    assert found.settings["width"] == 64 and found.settings["seed"] == 3 and found.settings["prompt"] == "a castle"
    assert found.settings["image_prompts"] == (f"{tmp_path / 's.png'}:2",) and "steps" in found.settings


def test_a_story_gives_each_prompt_its_turn():
    told = tell_story("a | b ^ c", every=10, fade=0.2, frames=None, seconds=None, fps=20)
    shots, film = plan_film(told, defaults=DEFAULTS)
    assert film.frames == 20 and [scene.prompt for scene in shots.scenes] == ["a | b", "c"]
    assert shots.shares[9] == 1 > shots.shares[10] and shots.shares[14] == 1


def test_a_longer_story_begins_again_and_one_without_turns_shares_its_time():
    def firsts(**how):
        told = tell_story("a ^ b ^ c", fade=0, **{"every": None, "frames": None, "seconds": None, "fps": 10, **how})
        shots, film = plan_film(told, defaults=DEFAULTS)
        return film.frames, [(scene.first, scene.prompt) for scene in shots.scenes]

    assert firsts(every=10, frames=45) == (45, [(0, "a"), (10, "b"), (20, "c"), (30, "a"), (40, "b")])
    assert firsts(seconds=1) == (10, [(0, "a"), (4, "b"), (8, "c")])
    assert firsts()[0] == 100
    for wrong in ({"every": 0}, {"frames": 2}):
        with pytest.raises(UsageError):
            firsts(**wrong)
    with pytest.raises(UsageError, match="empty prompt"):
        tell_story("a ^ ", every=1, fade=0, frames=None, seconds=None, fps=24)


def test_a_film_file_and_a_zoom_have_the_same_defaults():
    timeline, film = Timeline(scene=({"prompt": "a"},)), FilmSettings()
    camera, paint = ("rim", "carry", "hold", "sharpen"), ("frame_average", "clarity", "calm", "change")
    for own, names in ((timeline.camera, camera), (timeline.paint, paint)):
        assert all(getattr(own, name) == getattr(film, name) for name in names)
    assert timeline.fps == film.fps


def test_every_film_file_that_is_shown_can_be_planned(plan):
    pages = [ROOT / "docs/reference/film-files.md", ROOT / "docs/guides/films.md"]
    shown = [text for page in pages for text in re.findall(r"```toml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)]
    shown.append((ROOT / "examples/night-flight.toml").read_text(encoding="utf-8"))
    heard = Heard(12.0, (0.5, 1.0), {name: (0.5,) * 288 for name in LEVELS})
    assert len(shown) == 3
    for text in shown:
        plan(text, heard)


def test_every_key_of_a_film_file_stands_in_the_reference():
    text = (ROOT / "docs" / "reference" / "film-files.md").read_text(encoding="utf-8")
    keys = [key for model in (Timeline, Camera, Paint, Scene) for key in model.model_fields]
    missing = [word for word in (*keys, *EASINGS, *TIME, *BEATS, *LEVELS) if f"`{word}`" not in text]
    assert missing + [name for name in FUNCTIONS if f"`{name}(" not in text] == []
