"""Windows that cover a picture once; how far a generator sees; layers that do not depend on the window."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gesso.networks import build_generator
from gesso.networks.normalize import InstanceNorm2d
from gesso.predicting.tiles import scattered
from gesso.predicting.tiles_layout import lay, reach
from gesso.predicting.tiles_whole import Batch, PlacedDropout, WholeNorm
from gesso.recipe import Generator


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(2, 20), st.integers(0, 19), st.integers(0, 100), st.sampled_from([1, 4, 32]))
def test_windows_share_out_every_pixel_once(length: int, tile: int, overlap: int, seen: int, multiple: int) -> None:
    tile, overlap = tile * multiple, min(overlap, tile - 1) * multiple
    axis = lay(length, tile, overlap, seen, multiple, multiple)
    assert axis.padded - length < multiple and all(start % multiple == 0 for start in axis.starts)
    assert all(a < b <= a + axis.side - overlap for a, b in zip(axis.starts, axis.starts[1:], strict=False))
    total = torch.zeros(axis.padded)
    for i, start in enumerate(axis.starts):
        share = axis.share(i)
        assert share.min() >= 0
        total[start : start + axis.side] += torch.from_numpy(share)
    assert torch.allclose(total, torch.ones(axis.padded), atol=1e-5)


def test_what_a_windows_border_reaches_is_not_used() -> None:
    axis = lay(200, 64, 40, 18, 4, 8)
    for i, start in enumerate(axis.starts):
        used = axis.share(i).nonzero()[0]
        assert i == 0 or used[0] >= 18
        assert start + 64 == axis.padded or used[-1] < 64 - 18


@pytest.mark.parametrize(
    "config",
    [
        Generator(ngf=2, blocks=1),
        Generator(ngf=2, blocks=3, upsample="resize"),
        Generator(ngf=2, blocks=2, padding="zero"),
        Generator(kind="unet", ngf=2, depth=5),
    ],
    ids=lambda config: f"{config.kind}{config.blocks}{config.upsample}{config.padding}",
)
def test_a_windows_border_shows_as_far_as_is_said(config: Generator) -> None:
    torch.manual_seed(0)
    network = build_generator(Generator(**{**vars(config), "norm": "none"}), 1, 1).double().eval()
    image = torch.rand(1, 1, network.minimum, 512, dtype=torch.double)
    left, right = image.clone(), image.clone()
    left[..., :256] += 1
    right[..., 256:] += 1
    with torch.no_grad():
        before = network(image)
        changed = [(network(other) != before).any(2)[0, 0].nonzero()[:, 0] for other in (left, right)]
    assert max(int(changed[0].max()) - 255, 256 - int(changed[1].min())) == reach(config)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("kind", [InstanceNorm2d, nn.BatchNorm2d])
def test_a_whole_norm_is_the_norm_on_the_whole_picture(kind: type[nn.InstanceNorm2d], affine: bool) -> None:
    torch.manual_seed(0)
    norm, picture = kind(5, affine=affine), 3 + 2 * torch.randn(1, 5, 24, 40)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    expected = norm.train()(picture)
    whole = WholeNorm(norm)
    assert torch.allclose(whole(picture), expected, atol=1e-5)
    assert torch.allclose(whole(picture[..., 8:16]), expected[..., 8:16], atol=1e-5)


def test_dropout_goes_by_place() -> None:
    batch = Batch([(64, 128)], 64)
    dropout = PlacedDropout(0.5, 1, batch)
    whole = dropout(torch.ones(1, 6, 16, 16))
    assert 0.45 < float((whole == 0).float().mean()) < 0.55 and float(whole.max()) == 2
    batch.places, batch.height = [(80, 128), (64, 160)], 32
    below, right = dropout(torch.ones(2, 6, 8, 8))
    assert torch.equal(below, whole[0, :, 4:12, :8]) and torch.equal(right, whole[0, :, :8, 8:])
    assert not torch.equal(PlacedDropout(0.5, 2, batch)(torch.ones(2, 6, 8, 8))[0], below)


def test_dropouts_masks_have_no_pattern() -> None:
    mask = PlacedDropout(0.5, 0, Batch([(0, 0)], 64))(torch.ones(1, 16, 64, 64))[0] - 1
    for other in (mask.roll(1, 0), mask.roll(1, 1), mask.roll(1, 2), mask.roll((1, 1), (1, 2))):
        assert abs(float((mask * other).mean())) < 0.02


@settings(deadline=None)
@given(st.integers(8, 5000), st.integers(8, 5000), st.integers(1, 300))
def test_crops_lie_inside_and_are_no_more_than_asked_for(height: int, width: int, most: int) -> None:
    high, wide = min(64, height // 4 * 4), min(64, width // 4 * 4)
    places = scattered((height // 4 * 4, width // 4 * 4), (high, wide), most, 4)
    assert 1 <= len(places) <= most and places == sorted(places, key=lambda place: place[0])
    assert all(0 <= top <= height - high and 0 <= left <= width - wide for top, left in places)
    assert all(top % 4 == left % 4 == 0 for top, left in places)
