"""What was left open is filled in by the model, and by what the picture starts from."""

from __future__ import annotations

import pytest

from vqclip.films import FilmSettings, RestyleSettings
from vqclip.runs.plan import resolve, resolve_film
from vqclip.settings import Settings
from vqclip.store.registry import Model, find, models


def settled(**said: object) -> Settings:
    return resolve(Settings.make({"prompt": "a castle", "seed": 1, **said}).check())[0]


def test_the_starters_rate_finishes_a_sketch_and_is_higher_where_there_is_none() -> None:
    assert settled().init == "prior" and settled().learning_rate < 0.05
    for init in ("codes", "noise", "gradient"):
        bare = settled(init=init)
        assert bare.learning_rate == 0.08 and bare.schedule == "cosine"
    assert settled(init="codes", learning_rate=0.3).learning_rate == 0.3


def test_a_flight_and_a_restyled_clip_have_the_rates_that_their_model_says() -> None:
    flight, clip = (resolve_film(kind(), settled()) for kind in (FilmSettings, RestyleSettings))
    assert (flight.frame_learning_rate, flight.renew, clip.frame_learning_rate) == (0.004, 2.5, 0.01)
    assert resolve_film(FilmSettings(frame_learning_rate=0.5, renew=0.0), settled()).renew == 0
    other = settled(vqgan="my.ckpt")
    assert resolve_film(RestyleSettings(), other).frame_learning_rate == other.learning_rate
    assert resolve_film(FilmSettings(), other).renew is None


@pytest.mark.parametrize(("said", "start"), [({"init": "codes"}, "codes"), ({"init_image": "photo.jpg"}, "image")])
def test_what_is_said_of_sketches_where_nothing_is_sketched_gets_a_note(said: dict[str, str], start: str) -> None:
    asked = {"prompt": "a castle", "seed": 1, **said}
    assert resolve(Settings.make(asked).check())[1] == []
    notes = resolve(Settings.make({**asked, "sketch_again": 2, "guidance": 4.0}).check())[1]
    assert notes == [f"only a prior heeds --sketch-again, --guidance: with --init {start} nothing is sketched"]
    assert resolve(Settings.make({"prompt": "a castle", "seed": 1, "guidance": 4.0}).check())[1] == []


def test_an_init_image_brings_its_own_settings() -> None:
    given = settled(init_image="photo.jpg")
    assert (given.init, given.coarse) == ("image", 0.0)
    assert settled().learning_rate <= given.learning_rate < settled(init="codes").learning_rate
    assert settled(init_image="photo.jpg", coarse=0.5).coarse == 0.5
    assert settled(init_image="photo.jpg", vqgan="my.ckpt").coarse == 0.0


def test_later_tables_of_a_start_win_and_others_are_passed_over() -> None:
    tables = ({"init": ["codes"], "tv": 1.0}, {"init": ["codes", "noise"], "tv": 2.0}, {"init": ["image"], "tv": 3.0})
    model = Model("x", defaults={"init": "prior", "tv": 0.0, "steps": 5}, starts=tables)
    assert model.own("codes") == {"init": "codes", "tv": 2.0, "steps": 5}
    assert model.own("prior") == {"init": "prior", "tv": 0.0, "steps": 5}


def test_every_start_of_every_model_is_made_of_settings() -> None:
    for model in models():
        for table in model.starts:
            for init in table["init"]:
                Settings.make({**table, "init": init}, source=model.name)


def test_each_model_brings_the_clip_that_looks_at_it() -> None:
    assert settled().clip == ("starter",)
    for name in ("imagenet-f16-16384", "my-own.ckpt"):
        assert settled(vqgan=name).clip == tuple(find(name).defaults["clip"]) == ("ViT-B-32/openai",)
    assert settled(vqgan="imagenet-f16-16384", clip=["starter:0.5"]).clip == ("starter:0.5",)


@pytest.mark.parametrize("size", [(512, 384), (256, 256)])
def test_sizes_that_fit_the_stride_stay(size: tuple[int, int]) -> None:
    found = settled(width=size[0], height=size[1])
    assert (found.width, found.height) == size
