"""From files to batches: cuts, normalisation, pairs, and where a resumed iterator goes on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gesso.data.batches import Batches, cut, normalize, stack
from gesso.data.images import write_image
from gesso.data.order import Window, indices, windows
from gesso.data.sources import open_source
from gesso.data.store import Store, open_store, training_fit
from gesso.errors import DataError
from gesso.recipe import TranslationData

CPU = torch.device("cpu")


def quiet(line: str) -> None:
    pass


def store_of(data: TranslationData, unpaired: bool = False) -> Store:
    return open_store(open_source(data, "train", unpaired), training_fit(data), data, quiet)


def batches(store: Store, data: TranslationData, **changes: object) -> Batches:
    options = {"aligned": True, "batch_size": 2, "seed": 0, "device": CPU, **changes}
    return Batches(store, data, **options)  # type: ignore[arg-type]


def test_cut_equals_slicing_image_by_image() -> None:
    samples = torch.randint(0, 256, (3, 2, 9, 11), dtype=torch.uint8)
    chosen = [Window(0.0, 0.999, False), Window(0.5, 0.3, True), Window(0.999, 0.0, True)]
    for image, window, result in zip(samples, chosen, cut(samples, chosen, 6), strict=True):
        top, left = int(window.top * 4), int(window.left * 6)
        expected = image[:, top : top + 6, left : left + 6]
        assert torch.equal(result, expected.flip(2) if window.flip else expected)


def test_cut_reaches_the_last_row_and_column() -> None:
    samples = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4)
    assert cut(samples, [Window(0.999, 0.999, False)], 2)[0, 0, -1, -1] == 15


@pytest.mark.parametrize(("dtype", "top"), [(torch.uint8, 255), (torch.int32, 65535)])
def test_normalize_maps_the_full_range_to_minus_one_and_one(dtype: torch.dtype, top: int) -> None:
    values = normalize(torch.tensor([0, top], dtype=dtype))
    assert values.tolist() == [-1.0, 1.0]


def test_batch_is_what_decoding_and_cutting_by_hand_give(pairs: Path) -> None:
    data = TranslationData(root=str(pairs), load_size=36, crop_size=32)
    one = next(batches(store_of(data), data, seed=4))
    order, cuts = indices(4, 0, np.arange(2), 24), windows(4, 0, np.arange(2), True)
    for n in range(2):
        file = Image.open(pairs / "train" / f"{order[n]:03d}.png")
        for role, left in (("A", 0), ("B", 32)):
            half = file.crop((left, 0, left + 32, 32)).resize((36, 36), Image.Resampling.BICUBIC)
            top, side = int(cuts[n].top * 5), int(cuts[n].left * 5)
            expected = np.asarray(half)[top : top + 32, side : side + 32]
            expected = expected[:, ::-1] if cuts[n].flip else expected
            wanted = torch.from_numpy(expected.copy()).permute(2, 0, 1) / 127.5 - 1
            assert torch.allclose(one[role][n], wanted, atol=1e-6)


def test_pairs_stay_pairs_through_crop_and_mirror(pairs: Path) -> None:
    data = TranslationData(root=str(pairs), load_size=40, crop_size=32)
    for _, batch in zip(range(6), batches(store_of(data), data, batch_size=4), strict=False):
        assert (batch["A"] + batch["B"]).abs().max() < 0.05  # B is the negative of A


def test_pairs_taken_as_unpaired_come_in_orders_of_their_own(pairs: Path) -> None:
    data = TranslationData(root=str(pairs), load_size=40, crop_size=32)
    batch = next(batches(store_of(data, unpaired=True), data, aligned=False, batch_size=8))
    matched = (batch["A"] + batch["B"]).abs().amax((1, 2, 3)) < 0.05
    assert matched.sum() < 4


def test_iterator_goes_on_at_any_position(pairs: Path) -> None:
    data = TranslationData(root=str(pairs), load_size=36, crop_size=32)
    store = store_of(data)
    first = [next(b) for b in [batches(store, data, batch_size=5)] for _ in range(4)]
    later = next(batches(store, data, batch_size=5, position=15))
    assert torch.equal(first[3]["A"], later["A"])


def test_rewind_gives_the_first_batch_again(pairs: Path) -> None:
    data = TranslationData(root=str(pairs), load_size=36, crop_size=32)
    stream = batches(store_of(data), data)
    first = next(stream)
    next(stream)
    stream.rewind(0)
    assert torch.equal(next(stream)["A"], first["A"])
    assert stream.position == 2


def test_ranks_together_see_what_one_process_sees(pairs: Path) -> None:
    data = TranslationData(root=str(pairs), load_size=36, crop_size=32)
    store = store_of(data)
    alone = next(batches(store, data, batch_size=4))["A"]
    shared = [next(batches(store, data, batch_size=2, rank=rank, world=2))["A"] for rank in range(2)]
    assert torch.equal(alone, torch.cat(shared))


@pytest.mark.parametrize("preprocess", ["crop", "scale_width_and_crop"])
def test_images_of_different_sizes_share_a_batch_once_cropped(preprocess: str, tmp_path: Path) -> None:
    _sizes(tmp_path, [(40, 70), (64, 50), (90, 90), (33, 33)])
    data = TranslationData(root=str(tmp_path), preprocess=preprocess, load_size=48, crop_size=32)  # type: ignore[arg-type]
    batch = next(batches(store_of(data, unpaired=True), data, aligned=False, batch_size=4))
    assert batch["A"].shape == (4, 3, 32, 32)


def test_uncropped_images_of_different_sizes_name_the_mend(tmp_path: Path) -> None:
    _sizes(tmp_path, [(40, 70), (64, 50)])
    data = TranslationData(root=str(tmp_path), preprocess="none")
    with pytest.raises(DataError, match="--batch-size 1"):
        next(batches(store_of(data, unpaired=True), data, aligned=False))


def test_pair_whose_halves_differ_in_size_is_named(tmp_path: Path) -> None:
    for role, side in (("A", 40), ("B", 48)):
        (tmp_path / role / "train").mkdir(parents=True)
        write_image(tmp_path / role / "train" / "x.png", np.zeros((side, side, 3), np.uint8))
    data = TranslationData(root=str(tmp_path), preprocess="crop", crop_size=32)
    with pytest.raises(DataError, match="a pair but differ in size"):
        next(batches(store_of(data), data, batch_size=1))


def test_pairs_that_differ_in_size_are_named_among_others_that_do_not(tmp_path: Path) -> None:
    for role, sides in (("A", (40, 64)), ("B", (48, 64))):
        (tmp_path / role / "train").mkdir(parents=True)
        for i, side in enumerate(sides):
            write_image(tmp_path / role / "train" / f"{i}.png", np.zeros((side, side, 3), np.uint8))
    data = TranslationData(root=str(tmp_path), preprocess="crop", crop_size=32)
    with pytest.raises(DataError, match=r"A/train/0\.png and B/train/0\.png are a pair but differ"):
        next(batches(store_of(data), data, batch_size=2))


def test_eight_and_sixteen_bits_in_one_batch_have_the_same_white() -> None:
    white = [np.full((1, 2, 2), 255, np.uint8), np.full((1, 2, 2), 65535, np.uint16), np.zeros((1, 2, 2), np.uint8)]
    assert normalize(stack(white)).amax((1, 2, 3)).tolist() == [1.0, 1.0, -1.0]


def test_sixteen_bits_survive_to_the_batch(tmp_path: Path) -> None:
    (tmp_path / "A/train").mkdir(parents=True)
    (tmp_path / "B/train").mkdir(parents=True)
    fine = np.arange(1024, dtype=np.uint16).reshape(32, 32, 1) * 3
    for role in "AB":
        write_image(tmp_path / role / "train" / "x.png", fine)
    data = TranslationData(root=str(tmp_path), preprocess="none", channels_a=1, channels_b=1, flip=False)
    batch = next(batches(store_of(data), data, batch_size=1))
    assert batch["A"].unique().numel() == 1024


def _sizes(root: Path, sizes: list[tuple[int, int]]) -> None:
    for role in "AB":
        (root / f"train{role}").mkdir(parents=True)
        for i, (width, height) in enumerate(sizes):
            write_image(root / f"train{role}" / f"{i}.png", np.full((height, width, 3), i, np.uint8))
