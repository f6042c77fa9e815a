import pytest
from PIL import Image

from vqclip.filmfile import read_film_file, tell_story
from vqclip.planner import plan_film
from vqclip.sinks.storyboard import draw_storyboard

DEFAULTS = {"steps": 5, "learning_rate": 0.02, "cutouts": 16, "tv": 1.0}


def board(told, **more):
    shots, film = plan_film(told, defaults=DEFAULTS)
    return draw_storyboard(shots, frames=film.frames, size=(256, 128), title="a film", **more)


def film(tmp_path, text):
    path = tmp_path / "film.toml"
    path.write_text(f'frames = 48\n{text}[[scene]]\nprompt = "a castle"\n[[scene]]\nprompt = "fog"\nfade = 0.5\n')
    return read_film_file(path)


def test_a_moving_curve_gets_a_plot_and_a_still_one_a_word(tmp_path):
    still = board(film(tmp_path, ""))
    moving = board(film(tmp_path, '[camera]\nzoom = "1 + t / 100"\nrotate = [[0, 0], [2, 1]]\n'))
    assert still.width == moving.width == 1600 and moving.height == still.height + 2 * 86
    drawn = [(31, 95, 168) in {page.getpixel((1000, y)) for y in range(page.height)} for page in (still, moving)]
    assert drawn == [False, True]


def test_scenes_lie_side_by_side_and_fade_into_each_other(tmp_path):
    page = board(film(tmp_path, ""))
    row = [page.getpixel((x, 148)) for x in range(180, 1570)]
    first, second = (207, 224, 243), (246, 220, 196)
    assert row[100] == first and row[-100] == second
    assert page.getpixel((1050, 80)) == second and page.getpixel((1050, 148)) == first


@pytest.mark.parametrize("prompt", ["a", "a:2 | " + "word " * 60, "\u57ce\u5821 \U0001f3f0", "^".join("abcdefgh" * 4)])
def test_any_story_can_be_drawn(prompt):
    page = board(tell_story(prompt, every=6, fade=0.1, frames=None, seconds=None, fps=24), beats=[0.1, 99.0])
    assert isinstance(page, Image.Image) and page.height > 200


def test_a_film_of_one_frame_can_be_drawn():
    assert board(tell_story("a", every=1, fade=0, frames=None, seconds=None, fps=24)).height > 150
