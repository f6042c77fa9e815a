import torch
from tiny import TinyDecoder

from vqclip.engine.starts import from_codes, from_image, from_prior, gradient_image, noise_image
from vqclip.engine.streams import stream

DECODER = TinyDecoder()


def _rngs(*seeds):
    return [stream(seed, "init") for seed in seeds]


def test_random_codes_are_rows_of_the_codebook():
    latent = from_codes(DECODER.codebook, (5, 7), _rngs(1, 2))
    assert latent.shape == (2, 6, 5, 7)
    quantized, codes = DECODER.quantize(latent)
    assert torch.equal(quantized, latent) and len(codes.unique()) > 8


def test_each_seed_has_its_own_start_alone_or_in_a_batch():
    for start in (
        lambda rngs: from_codes(DECODER.codebook, (3, 4), rngs),
        lambda rngs: noise_image(12, 20, rngs),
        lambda rngs: gradient_image(12, 20, rngs),
        lambda rngs: from_prior(lambda noise: noise * 2, 6, (3, 4), rngs),
    ):
        both = start(_rngs(1, 2))
        assert torch.equal(both[0], start(_rngs(1))[0]) and torch.equal(both[1], start(_rngs(2))[0])
        assert not torch.equal(both[0], both[1])


def test_a_noise_picture_has_large_and_small_clouds_in_range():
    image = noise_image(64, 96, _rngs(1, 2, 3))
    assert image.shape == (3, 3, 64, 96) and image.min() >= 0 and image.max() <= 1
    large = torch.nn.functional.avg_pool2d(image, 16)
    small = image - torch.nn.functional.interpolate(large, scale_factor=16)
    assert large.std() > 0.05 and small.std() > 0.03


def test_a_gradient_picture_runs_from_one_color_to_another():
    image = gradient_image(32, 48, _rngs(5))
    assert image.min() >= 0 and image.max() <= 1 and image.std() > 0.02
    bend = image.diff(dim=2).diff(dim=2).abs().max(), image.diff(dim=3).diff(dim=3).abs().max()
    assert max(bend) < 1e-5


def test_a_picture_starts_as_its_nearest_codes():
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    latent = from_image(DECODER, image)
    assert torch.equal(latent, DECODER.tokenize(image)[0]) and not latent.requires_grad
