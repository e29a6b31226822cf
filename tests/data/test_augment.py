"""Views of single images: their distributions, and parity with plain Pillow calls and slow loops."""

import itertools

import numpy as np
import pytest
from PIL import Image, ImageOps

from gesso.data.augment import AreaCrop, CenterView, PadCrop, ShiftCrop, View
from gesso.data.order import AUGMENT, random
from gesso.errors import UsageError

VIEWS: dict[str, View] = {
    "area": AreaCrop(24),
    "pad": PadCrop(24),
    "shift": ShiftCrop(24, crop=40),
    "center": CenterView(32, 24),
}


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng([height, width]).integers(0, 256, (channels, height, width), np.uint8)


def pillow(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))


def channels_first(image: Image.Image) -> np.ndarray:
    return np.asarray(image).transpose(2, 0, 1)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_view_gives_a_square_of_its_size(view: View, channels: int) -> None:
    sample = view(noise(37, 53, channels), 0, 0, 0)
    assert sample.shape == (channels, 24, 24)
    assert sample.dtype == np.uint8
    assert sample.flags.c_contiguous


@pytest.mark.parametrize("name", ["area", "pad", "shift"])
def test_a_sample_is_a_function_of_seed_stream_and_position(name: str) -> None:
    image, view = noise(48, 48), VIEWS[name]
    assert np.array_equal(view(image, 1, 2, 3), view(image, 1, 2, 3))
    others = [view(image, 9, 2, 3), view(image, 1, 9, 3), view(image, 1, 2, 9)]
    assert all(not np.array_equal(view(image, 1, 2, 3), other) for other in others)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_the_image_is_read_only_to_a_view_and_not_shared_with_the_sample(view: View) -> None:
    image = noise(24, 24)
    before = image.copy()
    image.flags.writeable = False
    sample = view(image, 0, 0, 1)
    sample[:] = 7
    assert np.array_equal(image, before)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_sixteen_bits_are_reduced_to_eight(view: View) -> None:
    image = noise(40, 40)
    assert np.array_equal(view(image.astype(np.uint16) * 257, 0, 0, 5), view(image, 0, 0, 5))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_channels_are_resized_independently_of_each_other(channels: int) -> None:
    image = noise(50, 60, channels)
    whole = VIEWS["center"](image, 0, 0, 0)
    for c in range(channels):
        assert np.array_equal(whole[c], VIEWS["center"](image[c : c + 1], 0, 0, 0)[0])


def area_windows(height: int, width: int, view: AreaCrop, count: int = 3000) -> np.ndarray:
    return np.array([view.window(height, width, random(5, AUGMENT, 0, i)) for i in range(count)])


def test_area_crops_spread_evenly_over_areas_and_aspects() -> None:
    top, left, height, width = area_windows(400, 400, AreaCrop(224, area=(0.1, 0.5))).T
    area, aspect = height * width / 400**2, width / height
    assert 0.098 < area.min() < 0.11 < 0.49 < area.max() < 0.502
    assert 0.74 < aspect.min() < 0.76 < 1.32 < aspect.max() < 1.35
    assert np.histogram(area, bins=4, range=(0.1, 0.5))[0].std() < 60  # of about 750 each
    assert np.histogram(aspect, bins=4, range=(0.75, 1.333))[0].std() < 60
    # Corners: everywhere in the room that there is, on average in its middle.
    assert abs((top / (400 - height)).mean() - 0.5) < 0.02
    assert abs((left / (400 - width)).mean() - 0.5) < 0.02


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 333), (9, 9), (1, 1), (1, 300)])
def test_area_crops_never_leave_the_image(height: int, width: int) -> None:
    top, left, high, wide = area_windows(height, width, AreaCrop(8), 300).T
    assert top.min() >= 0 and left.min() >= 0 and high.min() >= 1 and wide.min() >= 1
    assert (top + high).max() <= height and (left + wide).max() <= width


def test_area_crop_falls_back_to_the_middle_where_none_fits() -> None:
    # An image 10 times as wide as high has no crop of 60 % of it that is at most 4/3 as wide as high.
    windows = area_windows(100, 1000, AreaCrop(8), 20)
    assert (windows == [0, (1000 - 133) // 2, 100, 133]).all()


def test_area_crop_equals_pillows_crop_and_resize() -> None:
    image, view = noise(120, 160), AreaCrop(56)
    mirrored = 0
    for position in range(20):
        rng = random(3, AUGMENT, 1, position)
        top, left, height, width = view.window(120, 160, rng)
        expected = pillow(image).crop((left, top, left + width, top + height))
        expected = expected.resize((56, 56), Image.Resampling.BILINEAR)
        if rng.random() < 0.5:
            mirrored += 1
            expected = ImageOps.mirror(expected)
        assert np.array_equal(view(image, 3, 1, position), channels_first(expected))
    assert 4 <= mirrored <= 16


@pytest.mark.parametrize("view", [AreaCrop(24, flip=False), PadCrop(24, flip=False)])
def test_nothing_is_mirrored_unless_asked(view: View) -> None:
    ramp = np.broadcast_to(np.arange(24, dtype=np.uint8) * 10, (1, 24, 24))
    for position in range(30):
        row = view(ramp, 0, 0, position)[0, 12].astype(int)
        inside = row[row > 0]
        assert (np.diff(inside) >= 0).all()


def test_pad_crop_is_one_of_the_crops_of_the_padded_image_each_alike_often() -> None:
    image, view = noise(8, 8), PadCrop(8, pad=2)
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)))
    crops = {}
    for top, left, flip in itertools.product(range(5), range(5), (False, True)):
        crop = padded[:, top : top + 8, left : left + 8]
        crops[(crop[:, :, ::-1] if flip else crop).tobytes()] = (top, left, flip)
    seen = [crops[view(image, 0, 0, i).tobytes()] for i in range(2000)]
    assert len(set(seen)) == 50
    for axis, expected in ((0, 400), (1, 400), (2, 1000)):
        counts = np.unique([place[axis] for place in seen], return_counts=True)[1]
        assert abs(counts - expected).max() < 0.2 * expected


def test_pad_crop_keeps_a_small_image_whole() -> None:
    image, view = np.full((1, 4, 4), 9, np.uint8), PadCrop(10, pad=1)
    for i in range(50):
        assert (view(image, 0, 0, i) == 9).sum() == 16


def shifted_slowly(image: np.ndarray, shift: int, crop: int) -> np.ndarray:
    """A shift, a centre crop with padding, each as its own loop over pixels."""
    height, width = image.shape[1:]
    moved = np.zeros_like(image)
    for x in range(width):
        if 0 <= x - shift < width:
            moved[:, :, x] = image[:, :, x - shift]
    before = [max(0, (crop - length) // 2) for length in (height, width)]
    after = [max(0, (crop - length + 1) // 2) for length in (height, width)]
    padded = np.pad(moved, ((0, 0), (before[0], after[0]), (before[1], after[1])))
    top, left = (round((length - crop) / 2) for length in padded.shape[1:])
    return padded[:, top : top + crop, left : left + crop]


@pytest.mark.parametrize(("height", "width"), [(60, 90), (41, 43), (30, 90), (60, 21), (20, 25), (40, 40), (33, 39)])
def test_shift_crop_equals_a_shift_then_a_centre_crop_then_pillows_resize(height: int, width: int) -> None:
    image, view = noise(height, width), ShiftCrop(16, crop=40, shift=0.3)
    for position in range(12):
        shift = round(random(0, AUGMENT, 0, position).uniform(-0.3 * width, 0.3 * width))
        expected = pillow(shifted_slowly(image, shift, 40)).resize((16, 16), Image.Resampling.BILINEAR)
        assert np.array_equal(view(image, 0, 0, position), channels_first(expected))


def test_shifts_spread_evenly_to_both_sides_of_the_middle() -> None:
    columns = np.broadcast_to(np.arange(200, dtype=np.uint8), (1, 60, 200))
    view = ShiftCrop(60, crop=60)
    middle = 100
    shifts = np.array([middle - int(view(columns, 0, 0, i)[0, 0, 30]) for i in range(2000)])
    assert -40 <= shifts.min() < -38 and 38 < shifts.max() <= 40
    assert abs(shifts.mean()) < 2
    assert abs(shifts.std() - 80 / 12**0.5) < 1


def test_no_shift_shows_the_middle() -> None:
    image = noise(50, 70)
    assert np.array_equal(ShiftCrop(40, crop=40, shift=0)(image, 0, 0, 0), image[:, 5:45, 15:55])


@pytest.mark.parametrize(("height", "width"), [(60, 90), (91, 60), (56, 56), (333, 500), (20, 30), (61, 7)])
@pytest.mark.parametrize(("resize", "size"), [(64, 56), (56, 56)])
def test_center_view_equals_resizing_the_whole_and_then_cropping(
    height: int, width: int, resize: int, size: int
) -> None:
    image = noise(height, width)
    high, wide = int(resize * height / min(height, width)), int(resize * width / min(height, width))
    whole = channels_first(pillow(image).resize((wide, high), Image.Resampling.BILINEAR)).astype(int)
    top, left = round((high - size) / 2), round((wide - size) / 2)
    expected = whole[:, top : top + size, left : left + size]
    assert abs(CenterView(resize, size)(image) - expected).max() <= 1  # one level, where a weight was rounded


def test_center_view_leaves_an_image_of_its_size_alone() -> None:
    image = noise(56, 56)
    assert np.array_equal(CenterView(56, 56)(image), image)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CenterView(224, 256),
        lambda: AreaCrop(224, area=(0.0, 1.0)),
        lambda: AreaCrop(224, area=(0.5, 1.5)),
        lambda: AreaCrop(224, aspect=(2.0, 1.0)),
        lambda: ShiftCrop(64, crop=256, shift=1.0),
    ],
)
def test_impossible_settings_are_refused(make: object) -> None:
    with pytest.raises(UsageError, match="must"):
        make()  # type: ignore[operator]
