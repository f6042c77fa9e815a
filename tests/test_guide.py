from functools import partial

import pytest
import torch
import torch.nn.functional as F
from tiny import TinyDecoder, TinyPerceptor, shaken

from vqclip.ops.cutouts import apply_cutouts, draw_cutouts
from vqclip.ops.gradients import clamp_with_gradient
from vqclip.ops.guide import Targets, View, guide, look
from vqclip.ops.losses import LatentAnchor, TotalVariation, prompt_loss

DECODER, PERCEPTOR = TinyDecoder(), TinyPerceptor()
LATENT = torch.randn(3, 6, 5, 6, generator=torch.Generator().manual_seed(0))
WANTED = F.normalize(torch.randn(3, 2, 12, generator=torch.Generator().manual_seed(1)), dim=-1)
WEIGHTS, STOPS = torch.tensor([1.0, -0.5]), torch.tensor([-torch.inf, -3.0])
EXTRAS = [("smooth", 0.5, TotalVariation()), ("anchor", 0.1, LatentAnchor(torch.zeros(1, 6, 5, 6)))]


def _plan(pictures):
    rngs = [torch.Generator().manual_seed(picture) for picture in pictures]
    return draw_cutouts(shaken(count=5), size=8, height=20, width=24, rngs=rngs)


def _view(pictures, wanted=None, weight=1.0):
    targets = Targets(WANTED[pictures] if wanted is None else wanted, WEIGHTS, STOPS)
    return View("clip", partial(apply_cutouts, plan=_plan(pictures)), PERCEPTOR.embed_image, targets, weight)


def _guide(pictures=(0, 1, 2), how=guide, **changes):
    pictures = list(pictures)
    options = {"views": [_view(pictures)], "extras": EXTRAS, **changes}
    return how(LATENT[pictures], quantize=DECODER.quantize, decode=DECODER.decode, **options)


def test_the_gradient_is_that_of_the_loss_written_plainly():
    latent = LATENT.clone().requires_grad_()
    image = clamp_with_gradient(DECODER.decode(DECODER.quantize(latent)[0]))
    embeddings = PERCEPTOR.embed_image(apply_cutouts(image, _plan([0, 1, 2])))
    loss = prompt_loss(embeddings, WANTED.repeat(5, 1, 1), WEIGHTS, STOPS).sum() / 5
    for _, weight, objective in EXTRAS:
        loss = loss + weight * objective(image, latent).sum()
    (gradient,) = torch.autograd.grad(loss, latent)
    guided = _guide()
    torch.testing.assert_close(guided.loss, loss.detach())
    torch.testing.assert_close(guided.gradient, gradient, rtol=1e-4, atol=1e-7)
    assert torch.equal(guided.image, image.detach())


@pytest.mark.parametrize("size", [1, 2, 4, 7, 100])
def test_micro_batches_give_the_plain_gradient(size):
    plain, small = _guide(), _guide(micro_batch=size)
    torch.testing.assert_close(small.gradient, plain.gradient, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(small.each, plain.each)


def test_the_perceptor_never_sees_more_than_a_micro_batch():
    sizes = []
    view = _view([0, 1, 2])
    watched = View("clip", view.cut, lambda x: (sizes.append(len(x)), view.embed(x))[1], view.targets)
    _guide(views=[watched], micro_batch=4)
    assert sizes == [4, 4, 4, 3]


def test_each_picture_of_a_batch_gets_what_it_would_get_alone():
    together = _guide()
    for picture in range(3):
        alone = _guide([picture])
        torch.testing.assert_close(together.gradient[picture], alone.gradient[0], rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(together.each[picture], alone.loss)


def test_one_row_of_targets_serves_all_pictures():
    shared, spelled = (_guide(views=[_view([0, 1, 2], wanted)]) for wanted in (WANTED[:1], WANTED[[0, 0, 0]]))
    torch.testing.assert_close(shared.gradient, spelled.gradient)


def test_looking_tells_the_same_as_guiding():
    seen, guided = _guide(how=look), _guide()
    assert torch.equal(seen.image, guided.image)
    torch.testing.assert_close(seen.each, guided.each)
    assert seen.losses.keys() == guided.losses.keys() == {"clip", "smooth", "anchor"}


def test_the_losses_by_name_sum_to_the_loss():
    guided = _guide()
    torch.testing.assert_close(sum(guided.losses.values()), guided.loss)


def test_a_view_twice_as_heavy_counts_twice():
    once, twice = (_guide(views=[_view([0, 1, 2], weight=weight)], extras=()) for weight in (1.0, 2.0))
    torch.testing.assert_close(twice.gradient, 2 * once.gradient, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(twice.loss, 2 * once.loss)


def test_an_objective_may_give_the_sum_over_the_pictures():
    split, summed = (_guide(extras=[("x", 1.0, how)]) for how in (_roughness, lambda *seen: _roughness(*seen).sum()))
    torch.testing.assert_close(split.gradient, summed.gradient)
    torch.testing.assert_close(split.loss, summed.loss)


def _roughness(image, latent):
    return image.diff(dim=2).square().flatten(1).sum(1) + latent.square().flatten(1).sum(1)


def test_guiding_works_where_the_caller_has_gradients_off():
    with torch.no_grad():
        quiet = _guide()
    assert torch.equal(quiet.gradient, _guide().gradient)
    assert not quiet.image.requires_grad and not quiet.gradient.requires_grad
