"""What is done to single images before the cache."""

import numpy as np
from PIL import Image

from gesso.data.fits import class_fit, image_fit, real_fit, scored_fit
from gesso.recipe import ClassData, ImageData

WIDE = np.random.default_rng(0).integers(0, 256, (300, 500, 3), np.uint8)
MSLS = ImageData(preprocess="shift_and_crop", image_size=64, crop=256)


def test_real_images_of_the_msls_variant_are_the_centre_that_training_sees() -> None:
    centre = Image.fromarray(WIDE).crop((122, 22, 378, 278)).resize((64, 64), Image.Resampling.BILINEAR)
    real = real_fit(MSLS)(WIDE).astype(int)
    assert np.abs(real - np.asarray(centre).transpose(2, 0, 1)).max() <= 1


def test_the_msls_variant_keeps_the_rows_that_a_sideways_shift_can_reach() -> None:
    fit, view = image_fit(MSLS)
    kept = fit(WIDE)
    assert kept.shape == (3, 256, 500)
    assert view(kept, 0, 0, 0).shape == (3, 64, 64)


def test_a_sideways_shift_sees_the_same_in_the_kept_rows_as_in_the_whole_image() -> None:
    fit, view = image_fit(MSLS)
    whole = np.ascontiguousarray(WIDE.transpose(2, 0, 1))
    assert all(np.array_equal(view(fit(WIDE), 7, 0, i), view(whole, 7, 0, i)) for i in range(5))


def test_classes_are_scored_on_one_centre_crop_and_trained_on_parts() -> None:
    data = ClassData(image_size=32, resize=48)
    assert scored_fit(data)(WIDE).shape == (3, 32, 32)
    fit, view = class_fit(data)
    assert view(fit(WIDE), 0, 0, 0).shape == (3, 32, 32)
    assert not np.array_equal(view(fit(WIDE), 0, 0, 0), view(fit(WIDE), 0, 0, 1))


def test_small_images_are_padded_before_they_are_cropped() -> None:
    data = ClassData(image_size=32, resize=32, preprocess="pad_crop", pad=4, flip=False)
    fit, view = class_fit(data)
    square = np.full((32, 32, 3), 255, np.uint8)
    cut = [view(fit(square), 0, 0, i) for i in range(8)]
    assert any((image == 0).any() for image in cut)
