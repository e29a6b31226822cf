"""Photo→label scores: by hand arithmetic, against an independent computation, and at the edges of the protocol."""

import math

import numpy as np
import pytest
import torch

from gesso.data.streets import CLASSES, PALETTE, TRAIN_LABELS, render
from gesso.data.streets.classes import IGNORED
from gesso.metrics.cityscapes import (
    CONVENTIONS,
    count,
    nearest,
    predicted_classes,
    scores,
    true_classes,
)

ID = {name: label for label, (name, _, _) in CLASSES.items()}
TRUTH = [
    ["road", "road", "sky", "sky"],
    ["road", "road", "sky", "sky"],
    ["static", "unlabeled", "car", "car"],
    ["ground", "road", "car", "car"],
]
DRAWN = [
    ["road", "sidewalk", "sky", "sky"],
    ["road", "road", "sky", "building"],
    ["road", "truck", "car", "sky"],
    ["road", "road", "car", "car"],
]


def labels(names: list[list[str]]) -> torch.Tensor:
    """1×H×W label ids."""
    return torch.tensor([[[ID[name] for name in row] for row in names]])


def painted(label_ids: torch.Tensor) -> torch.Tensor:
    """N×3×H×W uint8 palette colours."""
    return torch.tensor(PALETTE)[label_ids].movedim(-1, 1)


def matrix(classes: int) -> torch.Tensor:
    convention = CONVENTIONS[classes]
    truth, drawn = painted(labels(TRUTH)), painted(labels(DRAWN))
    return count(true_classes(truth, convention), predicted_classes(drawn, convention), convention)


def test_19_classes_by_hand() -> None:
    # 3 of 16 pixels are void. Road: 5 true, 4 found, 4 drawn. Sky: 4, 3, 4. Car: 4, 3, 3. Drawn but not there:
    # one sidewalk, one building.
    found = scores(matrix(19), CONVENTIONS[19])
    assert found.pixel_accuracy == pytest.approx(10 / 13)
    assert found.class_accuracy == pytest.approx((4 / 5 + 3 / 4 + 3 / 4) / 3)
    assert found.class_iou == pytest.approx((4 / 5 + 3 / 5 + 3 / 4 + 0 + 0) / 5)


def test_20_classes_by_hand() -> None:
    # Nothing is void: two pixels are unlabeled, and ground (81, 0, 81) is nearest to building (70, 70, 70), 92 away
    # like truck but first. Road: 5 true, 4 found, 6 drawn. Sky: 4, 3, 4. Car: 4, 3, 3. All others 0.
    found = scores(matrix(20), CONVENTIONS[20])
    assert found.pixel_accuracy == pytest.approx(10 / 16)
    assert found.class_accuracy == pytest.approx((4 / 5 + 3 / 4 + 3 / 4) / 20)
    assert found.class_iou == pytest.approx((4 / 7 + 3 / 5 + 3 / 4) / 20)


def test_the_table_has_each_class_with_its_pixels() -> None:
    table = {row.name: row for row in scores(matrix(19), CONVENTIONS[19]).table}
    assert list(table) == [CLASSES[label][0] for label in TRAIN_LABELS]
    assert (table["road"].pixels, table["road"].accuracy, table["road"].iou) == (5, 0.8, 0.8)
    assert table["building"].pixels == 0 and math.isnan(table["building"].accuracy) and table["building"].iou == 0
    assert math.isnan(table["bus"].iou)
    bus = {row.name: row for row in scores(matrix(20), CONVENTIONS[20]).table}["bus"]
    assert (bus.pixels, bus.accuracy, bus.iou) == (0, 0.0, 0.0)


def test_truth_against_itself_is_perfect_on_the_classes_that_are_there() -> None:
    streets = torch.from_numpy(np.stack([render(0, i, 128, 64).labels for i in range(3)]))
    convention = CONVENTIONS[19]
    truth = true_classes(painted(streets.long()), convention)
    found = scores(count(truth, predicted_classes(painted(streets.long()), convention), convention), convention)
    assert (found.pixel_accuracy, found.class_accuracy, found.class_iou) == (1.0, 1.0, 1.0)
    assert {row.accuracy for row in found.table if row.pixels} == {1.0}


def test_truth_against_itself_with_every_class_is_perfect_in_both_conventions() -> None:
    everything = painted(torch.tensor([[[0, *TRAIN_LABELS]]]))
    for convention in CONVENTIONS.values():
        counted = count(true_classes(everything, convention), predicted_classes(everything, convention), convention)
        found = scores(counted, convention)
        assert [found.pixel_accuracy, found.class_accuracy, found.class_iou] == pytest.approx([1.0, 1.0, 1.0])


def test_counts_of_images_add_up() -> None:
    generator = torch.Generator().manual_seed(0)
    truth, drawn = (torch.randint(19, (4, 8, 8), generator=generator) for _ in range(2))
    convention = CONVENTIONS[19]
    parts = sum(count(truth[i : i + 1], drawn[i : i + 1], convention) for i in range(4))
    assert torch.equal(parts, count(truth, drawn, convention))


def test_scores_are_those_of_an_independent_computation() -> None:
    generator = torch.Generator().manual_seed(1)
    truth, drawn = (torch.randint(20, (2, 32, 32), generator=generator) for _ in range(2))
    found = scores(count(truth, drawn, CONVENTIONS[20]), CONVENTIONS[20])
    t, d = truth.numpy(), drawn.numpy()
    recall = [((t == k) & (d == k)).sum() / (t == k).sum() for k in range(20)]
    iou = [((t == k) & (d == k)).sum() / ((t == k) | (d == k)).sum() for k in range(20)]
    assert found.pixel_accuracy == pytest.approx((t == d).mean())
    assert found.class_accuracy == pytest.approx(np.mean(recall))
    assert found.class_iou == pytest.approx(np.mean(iou))


def test_nothing_scored_is_not_a_number() -> None:
    found = scores(torch.zeros(19, 19, dtype=torch.int64), CONVENTIONS[19])
    assert math.isnan(found.pixel_accuracy) and math.isnan(found.class_accuracy)


def test_nearest_colour_is_that_of_a_table_of_all_distances() -> None:
    images = torch.randint(256, (2, 3, 40, 30), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    colours = tuple(CONVENTIONS[20].palette.values())
    distances = np.abs(images.numpy()[:, None].astype(int) - np.array(colours)[None, :, :, None, None]).sum(2)
    np.testing.assert_array_equal(nearest(images, colours).numpy(), distances.argmin(1))


def test_floats_count_as_the_8_bits_they_are_saved_with() -> None:
    images = painted(labels(TRUTH))
    colours = tuple(CONVENTIONS[20].palette.values())
    assert torch.equal(nearest(images.float() / 127.5 - 1 + 0.003, colours), nearest(images, colours))
    assert torch.equal(nearest(torch.full((1, 3, 1, 1), -7.0), colours), torch.tensor([[[19]]]))


@pytest.mark.parametrize(("classes", "unlabeled"), [(19, IGNORED), (20, 19)])
def test_a_labels_colour_means_its_train_id(classes: int, unlabeled: int) -> None:
    ids = [0, *TRAIN_LABELS]
    found = true_classes(painted(torch.tensor([[ids]])), CONVENTIONS[classes])
    assert found.flatten().tolist() == [unlabeled, *(CLASSES[label][2] for label in TRAIN_LABELS)]


def test_void_labels_are_not_scored_but_a_polegroup_looks_like_a_pole() -> None:
    void = [label for label, (_, _, train_id) in CLASSES.items() if train_id == IGNORED]
    found = true_classes(painted(torch.tensor([[void]])), CONVENTIONS[19]).flatten().tolist()
    assert dict(zip(void, found, strict=True)) == dict.fromkeys(void, IGNORED) | {
        ID["polegroup"]: CLASSES[ID["pole"]][2]
    }


def test_jpeg_shifted_colours_of_the_truth_still_count() -> None:
    shifted = painted(labels(TRUTH)).short() + torch.tensor([4, -3, 5])[None, :, None, None]
    found = true_classes(shifted.clamp(0, 255).to(torch.uint8), CONVENTIONS[19])
    assert found[0].tolist() == [[CLASSES[ID[name]][2] for name in row] for row in TRUTH]


def test_a_palette_entry_never_means_two_things() -> None:
    for convention in CONVENTIONS.values():
        colours = [*convention.palette.values(), *convention.void]
        assert len(set(colours)) == len(colours)
