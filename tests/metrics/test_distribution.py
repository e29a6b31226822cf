"""Distances between sets, against independent computations."""

import functools
import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from gesso.errors import DataError
from gesso.metrics import distribution
from gesso.metrics.distribution import (
    DISTRIBUTION,
    density_coverage,
    distribution_scores,
    frechet_distance,
    kernel_distance,
    precision_recall,
    protocol,
)
from gesso.metrics.features_gathered import Gathered


def points(count: int, width: int = 8, seed: int = 0, shift: float = 0.0) -> Tensor:
    """Positive, correlated features, as Inception's are."""
    random = torch.Generator().manual_seed(seed)
    mixed = torch.randn(count, width, generator=random) @ torch.randn(width, width, generator=random)
    return (mixed + shift).abs()


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.double().mean(0), torch.cov(x.double().T)


def gathered(x: Tensor) -> Gathered:
    made = Gathered(keep=len(x))
    made.add(x)
    return made


def distances(x: Tensor, y: Tensor) -> np.ndarray:
    """Each pair by itself."""
    a, b = x.double().numpy(), y.double().numpy()
    return np.array([[np.sqrt(((p - q) ** 2).sum()) for q in b] for p in a])


def reaches(x: Tensor, k: int) -> np.ndarray:
    apart = distances(x, x)
    return np.array([sorted(np.delete(row, i))[k - 1] for i, row in enumerate(apart)])


# ── Fréchet ──────────────────────────────────────────────────────────────────────────────────────


def test_frechet_is_scipys_square_root_and_torchmetrics() -> None:
    (m1, c1), (m2, c2) = moments(points(100)), moments(points(80, seed=1, shift=0.5))
    root = scipy.linalg.sqrtm(c1.numpy() @ c2.numpy())
    expected = ((m1 - m2) ** 2).sum() + np.trace(c1 + c2 - 2 * root.real)
    assert frechet_distance(m1, c1, m2, c2) == pytest.approx(float(expected), rel=1e-9)
    assert frechet_distance(m1, c1, m2, c2) == pytest.approx(_compute_fid(m1, c1, m2, c2).item(), rel=1e-9)


def test_frechet_of_fewer_images_than_dimensions_is_exact() -> None:
    # The trace of the root is then the sum of singular values of the small matrix of the images' products.
    x, y = points(12, 64).double(), points(9, 64, seed=1).double()
    products = (x - x.mean(0)) @ (y - y.mean(0)).T / np.sqrt(11 * 8)
    root = np.linalg.svd(products.numpy(), compute_uv=False).sum()
    (m1, c1), (m2, c2) = moments(x), moments(y)
    expected = (m1 - m2).square().sum() + c1.trace() + c2.trace() - 2 * root
    assert frechet_distance(m1, c1, m2, c2) == pytest.approx(expected.item(), rel=1e-6)


def test_frechet_of_one_dimension_is_by_hand() -> None:
    one = torch.ones(1, 1)
    assert frechet_distance(torch.zeros(1), 4 * one, torch.full((1,), 3.0), 25 * one) == pytest.approx(9 + (5 - 2) ** 2)


def test_frechet_of_a_set_to_itself_is_zero_and_never_less() -> None:
    mean, covariance = moments(points(20, 64))
    assert 0 <= frechet_distance(mean, covariance, mean, covariance) < 1e-5 * covariance.trace()


def test_frechet_of_a_diverged_network_is_not_a_number() -> None:
    mean, covariance = moments(points(20))
    assert math.isnan(frechet_distance(mean, covariance, mean * math.nan, covariance * math.nan))


# ── kernel ───────────────────────────────────────────────────────────────────────────────────────


def test_kernel_distance_is_the_sum_over_pairs() -> None:
    x, y = points(9).double().numpy(), points(9, seed=1, shift=0.3).double().numpy()

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 8 + 1) ** 3)

    within = [kernel(s[i], s[j]) for s in (x, y) for i, j in itertools.permutations(range(9), 2)]
    between = [kernel(a, b) for a in x for b in y]
    mean, std = kernel_distance(torch.from_numpy(x), torch.from_numpy(y), subsets=3)
    assert mean == pytest.approx(sum(within) / 72 - 2 * np.mean(between), rel=1e-9)
    assert math.isnan(std)  # each subset is the whole


def test_kernel_distance_is_torchmetrics() -> None:
    x, y = points(40).double(), points(40, seed=1).double()
    assert kernel_distance(x, y, subsets=1)[0] == pytest.approx(poly_mmd(x, y).item(), rel=1e-9)


def test_kernel_distance_over_subsets_is_near_the_whole_and_from_the_seed() -> None:
    x, y = points(400), points(300, seed=1, shift=1.0)
    whole, _ = kernel_distance(x[:300], y, subsets=1)
    mean, std = kernel_distance(x, y, subsets=50, subset_size=100)
    assert std > 0 and abs(mean - whole) < 5 * std
    assert kernel_distance(x, y, subsets=50, subset_size=100) == (mean, std)
    assert kernel_distance(x, y, subsets=50, subset_size=100, seed=1) != (mean, std)


def test_kernel_distance_of_one_distribution_is_about_zero() -> None:
    x = points(400)
    mean, std = kernel_distance(x[:200], x[200:], subsets=50, subset_size=50)
    assert abs(mean) < 2 * std


# ── neighbours ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("block", [512, 7])
def test_precision_and_recall_are_the_papers(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "_BLOCK", block)
    real, fake = points(30), points(25, seed=1, shift=0.2)
    apart = distances(fake, real)
    precision = np.mean([(row <= reaches(real, 3)).any() for row in apart])
    recall = np.mean([(row <= reaches(fake, 3)).any() for row in apart.T])
    assert 0 < precision < 1 and 0 < recall < 1
    assert precision_recall(real, fake) == pytest.approx((precision, recall))


@pytest.mark.parametrize("block", [512, 7])
def test_density_and_coverage_are_the_papers(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "_BLOCK", block)
    real, fake = points(30), points(25, seed=1, shift=0.2)
    inside = distances(fake, real) <= reaches(real, 5)
    assert 0 < inside.any(0).mean() < 1
    assert density_coverage(real, fake) == pytest.approx((inside.sum() / (5 * 25), inside.any(0).mean()))


def test_collapsed_fakes_are_precise_but_recall_and_cover_nothing() -> None:
    real = points(40)
    fake = real[:1].repeat(40, 1)
    assert precision_recall(real, fake)[0] == 1
    assert precision_recall(real, fake)[1] <= 1 / 40
    assert density_coverage(real, fake)[1] < 0.5


def test_far_fakes_score_nothing() -> None:
    real, fake = points(20), points(20) + 1000
    assert precision_recall(real, fake) == (0, 0)
    assert density_coverage(real, fake) == (0, 0)


def test_real_against_itself_is_perfect() -> None:
    real = points(30)
    assert precision_recall(real, real) == (1, 1)
    assert density_coverage(real, real)[1] == 1


def test_fakes_of_the_same_distribution_have_density_near_one() -> None:
    assert density_coverage(points(1200)[:600], points(1200)[600:])[0] == pytest.approx(1, abs=0.15)


# ── together ─────────────────────────────────────────────────────────────────────────────────────


def test_wanted_scores_and_no_others() -> None:
    real, fake = gathered(points(40)), gathered(points(30, seed=1))
    found = distribution_scores(real, fake, tuple(DISTRIBUTION))
    assert set(found) == {*DISTRIBUTION, "KID std"}
    assert distribution_scores(real, fake) == {"FID": found["FID"]}
    assert distribution_scores(real, fake, ("KID", "recall")) == {k: found[k] for k in ("KID", "KID std", "recall")}
    assert found["FID"] == pytest.approx(frechet_distance(*moments(points(40)), *moments(points(30, seed=1))), rel=1e-9)
    assert (found["precision"], found["recall"]) == precision_recall(points(40), points(30, seed=1))


def test_where_every_subset_is_the_whole_there_is_no_deviation_and_the_protocol_says_why() -> None:
    told = functools.partial(protocol, real="", fake="", preparation="", features="", checkpoint="", wanted=("KID",))
    same = [gathered(points(30, seed=seed)) for seed in range(2)]
    assert distribution_scores(*same, ("KID",)).keys() == {"KID"}
    assert "all 30 of each set at once; a subset of up to 1000 is the whole, so there is no std" in told(
        n_real=30, n_fake=30, kept=30
    )
    assert "mean and std over 100 subsets of 30" in told(n_real=40, n_fake=30, kept=30)


@pytest.mark.parametrize("name", DISTRIBUTION)
def test_too_few_images_are_named_before_anything_is_computed(name: str) -> None:
    fewest = DISTRIBUTION[name].fewest
    many, enough, few = (gathered(points(count)) for count in (20, fewest, fewest - 1))
    assert name in distribution_scores(many, enough, (name,))
    with pytest.raises(DataError, match=f"{name} need at least {fewest} images of each set, not {fewest - 1}"):
        distribution_scores(many, few, (name,))


def test_functions_refuse_too_few_features() -> None:
    for function, fewest in ((kernel_distance, 2), (precision_recall, 4), (density_coverage, 6)):
        with pytest.raises(DataError, match=f"at least {fewest} images"):
            function(points(20), points(fewest - 1))


def test_protocol_says_all_that_moves_the_numbers() -> None:
    text = protocol(
        real="zebras, trainB + testB",
        fake="horses, testA",
        n_real=1474,
        n_fake=120,
        kept=120,
        preparation="resize to 256",
        features="Inception (sha256 7ff4a85c…34)",
        checkpoint="000200",
        wanted=("FID", "KID", "precision", "coverage"),
        seed=7,
    )
    for part in (
        "zebras, trainB + testB, N = 1474",
        "horses, testA, N = 120, checkpoint 000200",
        "resize to 256; then 8 bits, bilinear to 299×299 without antialiasing",
        "7ff4a85c…34",
        "fewer than 2048",
        "100 subsets of 120, seed 7",
        "precision k = 3, coverage k = 5",
    ):
        assert part in text


def test_protocol_is_silent_about_what_was_not_asked_for() -> None:
    text = protocol(
        real="a", fake="b", n_real=9999, n_fake=9999, kept=0, preparation="none", features="f", checkpoint="c"
    )
    assert "KID" not in text and "k =" not in text and "fewer" not in text
