"""A job's id is the hash of what changes pixels; the folder of a batch knows by it what is done."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from door import save_picture
from PIL import Image

from vqclip.errors import OutputError, UsageError
from vqclip.runs.jobs import Ask, identify, make_jobs
from vqclip.runs.plan import resolve
from vqclip.settings import Settings
from vqclip.sinks.ledger import Ledger, job_of
from vqclip.wildcards import Wildcards

JOB = "0123456789abcdef"


def id_of(tiny_models, **more) -> str:
    return identify(resolve(Settings.make(tiny_models.settings(**more)).check())[0])[0]


def test_a_setting_that_says_what_every_model_does_leaves_the_id_alone(tiny_models) -> None:
    settled = resolve(Settings.make(tiny_models.settings()).check())[0]
    assert settled.sketch_again == Settings().sketch_again  # what is at its field's default is not in the id
    assert id_of(tiny_models) != id_of(tiny_models, sketch_again=1)


def test_the_id_depends_on_all_that_changes_pixels(tiny_models, tmp_path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    Image.new("RGB", (8, 8), "blue").save(tmp_path / "b.png")
    changes = [
        {},
        {"seed": 2},
        {"prompt": "a castle in Fog"},
        {"negative": "fog"},
        {"learning_rate": 0.3},
        {"clip": (f"{tiny_models.clip}:2",)},
        {"clip": (f"{tiny_models.clip}:2:0.5",)},
        {"clip": (str(tiny_models.clip),) * 2},
        {"clip": ("starter",)},
        {"init_image": str(tmp_path / "a.png")},
        {"init_image": str(tmp_path / "b.png")},
        {"image_prompts": (str(tmp_path / "a.png"),)},
        {"image_prompts": (f"{tmp_path / 'a.png'}:0.5",)},
        {"grid_roll": False},
    ]
    ids = [id_of(tiny_models, **change) for change in changes]
    assert len(set(ids)) == len(changes) and all(len(one) == 16 for one in ids)


def test_the_id_does_not_depend_on_where_files_lie_or_what_is_the_default(tiny_models, tmp_path) -> None:
    copy = shutil.copy(tiny_models.vqgan, tmp_path / "other-name.safetensors")
    same = [
        {},
        {"vqgan": str(copy)},
        {"optimizer": "adam"},
        {"learning_rate": 0.1},
        {"grid_roll": True},
        {"clip": (f"{tiny_models.clip}:1:1",)},
    ]
    assert len({id_of(tiny_models, **change) for change in same}) == 1


def test_another_model_under_the_same_name_is_another_job(tiny_models, tmp_path) -> None:
    path = tmp_path / "vqgan.safetensors"
    shutil.copy(tiny_models.vqgan, path)
    before = id_of(tiny_models, vqgan=str(path))
    shutil.copy(tiny_models.clip, path)
    assert id_of(tiny_models, vqgan=str(path)) != before


def asks(*settings, **more) -> list[Ask]:
    return [Ask(line, one, **more) for line, one in enumerate(settings, start=1)]


def test_jobs_asked_for_twice_are_one_and_those_that_share_models_come_together(tiny_models) -> None:
    tiny = {"vqgan": str(tiny_models.vqgan)}
    wanted = asks({"prompt": "a"}, {"prompt": "b", **tiny}, {"prompt": "a"}, {"prompt": "c"})
    made = make_jobs(wanted, expand="no", wildcards=Wildcards([]), most=10)
    assert [job.settings.prompt for job in made.jobs] == ["a", "c", "b"] and made.repeated == 1


def test_without_a_seed_each_prompt_has_its_own_that_stays(tiny_models) -> None:
    wanted = asks({"prompt": "a {b|c}"}, {"prompt": "d"}, count=2)
    one, other = (make_jobs(wanted, expand="all", wildcards=Wildcards([]), most=10).jobs for _ in range(2))
    assert [job.id for job in one] == [job.id for job in other] and len(one) == 6
    assert len({job.settings.seed for job in one}) == 4


def test_drawing_depends_on_the_seed_and_a_limit_is_kept(tiny_models) -> None:
    wanted = asks({"prompt": "{a|b|c|d} {a|b|c|d}"}, seeds=(1, 2, 3))
    made = make_jobs(wanted, expand="random", wildcards=Wildcards([]), most=3)
    assert len(made.jobs) == 3 and all(len(job.settings.prompt) == 3 for job in made.jobs)
    with pytest.raises(UsageError, match="48 pictures, more than 47"):
        make_jobs(wanted, expand="all", wildcards=Wildcards([]), most=47)


def save(path, **recipe):
    return save_picture(path, {"schema": 1, "settings": {}, **recipe})


def test_a_job_is_done_if_and_only_if_its_whole_picture_says_so(tmp_path) -> None:
    ledger = Ledger(tmp_path)
    path = ledger.picture("A castle / in fog", 7, JOB)
    assert path.name == f"a-castle-in-fog-7-{JOB}.png" and ledger.done() == {}
    save(path, job="another")
    assert ledger.done() == {} and ledger.find(path, JOB) is None
    save(path, job=JOB, stopped="diverged")
    assert ledger.done() == {}
    save(path, job=JOB, stopped="at a plateau")
    assert ledger.done() == {JOB: path}
    save(path, job=JOB)
    assert ledger.done() == {JOB: path} and ledger.find(path, JOB) == path
    path.write_bytes(path.read_bytes()[:-1])
    assert ledger.done() == {} and job_of(path) is None
    (tmp_path / "no picture.png").write_bytes(b"")
    assert job_of(tmp_path / "no picture.png") is None and job_of(tmp_path / "none.png") is None


def test_failures_are_kept_with_their_reason_until_the_job_is_done(tmp_path) -> None:
    ledger = Ledger(tmp_path / "new")
    assert ledger.failures() == {} and ledger.begun() == set()
    ledger.prepare()
    ledger.fail(JOB, {"message": "no"})
    (tmp_path / "new" / ".vqclip" / "x.failed").write_text("{")
    ledger.state(JOB).write_bytes(b"")
    assert ledger.failures() == {JOB: {"message": "no"}} and ledger.begun() == {JOB}
    (tmp_path / "new" / f"fog-5-{JOB}.unfinished.png").write_bytes(b"")
    (tmp_path / "new" / "fog-5-another.unfinished.png").write_bytes(b"")
    ledger.tidy([JOB])
    assert os.listdir(tmp_path / "new" / ".vqclip") == ["x.failed"]
    assert sorted(os.listdir(tmp_path / "new")) == [".vqclip", "fog-5-another.unfinished.png"]


def test_the_plan_comes_back_and_what_is_none_is_refused(tmp_path) -> None:
    ledger = Ledger(tmp_path)
    with pytest.raises(UsageError, match="no folder of a batch"):
        ledger.read_plan()
    ledger.write_plan([{"id": JOB, "settings": {"prompt": "ä"}}])
    assert ledger.read_plan() == [{"id": JOB, "settings": {"prompt": "ä"}}]
    plan = tmp_path / ".vqclip" / "jobs.jsonl"
    for text in ("", "{", "[]\n", '{"schema": 99}\n', json.dumps({"schema": 1}) + "\n5\n"):
        plan.write_text(text)
        with pytest.raises(UsageError):
            ledger.read_plan()
    plan.unlink()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        Ledger(tmp_path / "file").prepare()
