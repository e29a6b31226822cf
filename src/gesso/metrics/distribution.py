"""How far two sets of images are apart, as pure functions of their features.

The Fréchet and the kernel distance are one number for everything that differs; precision and recall, density and
coverage say whether the images are unlike the real ones or less varied. All of it in float64, for these are small
differences of large sums. Features are N×D; besides them 50,000 × 2048 of each set need less than 2.5 GB.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gesso.errors import DataError
from gesso.metrics.features import RESIZE
from gesso.metrics.features_gathered import Gathered

NEIGHBOURS_PR, NEIGHBOURS_DC = 3, 5
"""k of precision and recall, and of density and coverage: the papers' choices."""
SUBSETS, SUBSET_SIZE = 100, 1000
"""Random subsets over which the kernel distance is averaged, and the images of each set in one."""
_BLOCK = 512  # rows of a matrix of distances that exist at once


@dataclass(frozen=True)
class Score:
    """Which way is better, the fewest images of each set, and whether features themselves are needed."""

    higher_is_better: bool
    fewest: int
    from_features: bool


DISTRIBUTION: dict[str, Score] = {
    "FID": Score(higher_is_better=False, fewest=2, from_features=False),
    "KID": Score(higher_is_better=False, fewest=2, from_features=True),
    "precision": Score(higher_is_better=True, fewest=NEIGHBOURS_PR + 1, from_features=True),
    "recall": Score(higher_is_better=True, fewest=NEIGHBOURS_PR + 1, from_features=True),
    "density": Score(higher_is_better=True, fewest=NEIGHBOURS_DC + 1, from_features=True),
    "coverage": Score(higher_is_better=True, fewest=NEIGHBOURS_DC + 1, from_features=True),
}


def distribution_scores(
    real: Gathered, fake: Gathered, wanted: Collection[str] = ("FID",), seed: int = 0
) -> dict[str, float]:
    """The `wanted` of `DISTRIBUTION`; KID brings "KID std", its spread over subsets, where these can differ.

    DataError where there are too few images.
    """
    _enough(min(real.count, fake.count), max(DISTRIBUTION[name].fewest for name in wanted), " and ".join(wanted))
    assert min(real.keep, fake.keep) or not any(DISTRIBUTION[name].from_features for name in wanted)
    found: dict[str, float] = {}
    if "FID" in wanted:
        found["FID"] = frechet_distance(real.mean, real.covariance, fake.mean, fake.covariance)
    if "KID" in wanted:
        found["KID"], std = kernel_distance(real.kept, fake.kept, seed=seed)
        found |= {} if math.isnan(std) else {"KID std": std}
    if {"precision", "recall"} & set(wanted):
        found["precision"], found["recall"] = precision_recall(real.kept, fake.kept)
    if {"density", "coverage"} & set(wanted):
        found["density"], found["coverage"] = density_coverage(real.kept, fake.kept)
    return {name: value for name, value in found.items() if name.removesuffix(" std") in wanted}


def frechet_distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    """Between two Gaussians, squared (Heusel et al. 2017, eq. 6): |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½).

    The trace of the root is the sum of the singular values of C1^½ C2^½. That needs only symmetric eigenproblems and
    an SVD, whose errors are small beside the largest value. The product C1 C2 is not symmetric: with fewer images
    than dimensions its eigenvalues can come out negative or complex, and their errors grow under the root.
    NaN where the statistics are not finite, as those of a network that diverged.
    """
    mean1, cov1, mean2, cov2 = (x.double() for x in (mean1, cov1, mean2, cov2))
    if not all(x.isfinite().all() for x in (mean1, cov1, mean2, cov2)):
        return math.nan
    root = torch.linalg.svdvals(_root(cov1).T @ _root(cov2)).sum()
    distance = (mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * root
    return max(0.0, float(distance))


def kernel_distance(
    real: Tensor, fake: Tensor, subsets: int = SUBSETS, subset_size: int = SUBSET_SIZE, seed: int = 0
) -> tuple[float, float]:
    """Mean and standard deviation over random subsets of the unbiased MMD² (Bińkowski et al. 2018).

    The kernel is (xᵀy / D + 1)³. Subsets are no larger than the smaller set. The mean can come out below 0; the
    deviation is NaN where each subset would be the whole of both sets, which are then compared once.
    """
    _enough(min(len(real), len(fake)), 2, "KID")
    size = min(subset_size, len(real), len(fake))
    if whole := size == len(real) == len(fake):
        subsets = 1
    random = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(subsets):
        x = real[torch.randperm(len(real), generator=random)[:size]].double()
        y = fake[torch.randperm(len(fake), generator=random)[:size]].double()
        xx, yy, xy = _kernel(x, x), _kernel(y, y), _kernel(x, y)
        within = (xx.sum() - xx.trace() + yy.sum() - yy.trace()) / (size * (size - 1))
        values.append(within - 2 * xy.mean())
    found = torch.stack(values)
    return found.mean().item(), math.nan if whole else found.std(correction=0).item()


def precision_recall(real: Tensor, fake: Tensor, k: int = NEIGHBOURS_PR) -> tuple[float, float]:
    """Improved precision and recall, each in [0, 1] (Kynkäänniemi et al. 2019, eq. 1 and 2).

    Precision: the share of fakes in the ball of some real image, whose radius is its distance to its k-th nearest
    neighbour among the real ones. Recall: the same with the sets exchanged.
    """
    _enough(min(len(real), len(fake)), k + 1, "precision and recall")
    real, fake = real.double(), fake.double()
    precise = _balls_around(fake, real, _radii(real, k)) > 0
    recalled = _balls_around(real, fake, _radii(fake, k)) > 0
    return precise.double().mean().item(), recalled.double().mean().item()


def density_coverage(real: Tensor, fake: Tensor, k: int = NEIGHBOURS_DC) -> tuple[float, float]:
    """Density, 0 or more, about 1 for equal distributions, and coverage in [0, 1] (Naeem et al. 2020).

    Density: in how many balls of real images a fake lies on average, over k. Coverage: the share of real images with a
    fake in their ball. The balls are those of `precision_recall`.
    """
    _enough(min(len(real), len(fake)), k + 1, "density and coverage")
    real, fake = real.double(), fake.double()
    radii = _radii(real, k)
    density = _balls_around(fake, real, radii).sum().item() / (k * len(fake))
    nearest = torch.cat([distances.min(1).values for _, distances in _distances(real, fake)])
    return density, (nearest <= radii).double().mean().item()


def protocol(
    *,
    real: str,
    fake: str,
    n_real: int,
    n_fake: int,
    kept: int,
    preparation: str,
    features: str,
    checkpoint: str,
    wanted: Collection[str] = ("FID",),
    seed: int = 0,
) -> str:
    """What was compared and how, in lines for people.

    real, fake: data set and split of the real images, and of those that were translated. kept: features of each set
    that were at hand (the smaller number). preparation: of the images before they reach the features' network.
    """
    lines = [
        f"real: {real}, N = {n_real}; fake: {fake}, N = {n_fake}, checkpoint {checkpoint}",
        f"preparation: {preparation}; then {RESIZE}",
        f"features: {features}, float32; statistics in float64",
    ]
    if "FID" in wanted:
        few = min(n_real, n_fake) < 2048
        lines.append(
            "FID (lower is better) between Gaussians with unbiased covariance"
            + ("; fewer than 2048 images raise it, so compare only equal N" if few else "")
        )
    if "KID" in wanted:
        size = min(SUBSET_SIZE, kept)
        over = f"mean and std over {SUBSETS} subsets of {size}, seed {seed}"
        if size == n_real == n_fake:
            over = f"all {size} of each set at once; a subset of up to {SUBSET_SIZE} is the whole, so there is no std"
        lines.append(f"KID (lower is better), degree 3: {over}")
    neighbours = {
        "precision": NEIGHBOURS_PR,
        "recall": NEIGHBOURS_PR,
        "density": NEIGHBOURS_DC,
        "coverage": NEIGHBOURS_DC,
    }
    if used := [f"{name} k = {k}" for name, k in neighbours.items() if name in wanted]:
        lines.append(f"{', '.join(used)} (higher is better), on at most {kept} images of each set")
    return "\n".join(lines)


def _root(covariance: Tensor) -> Tensor:
    """R with R Rᵀ = C, for a symmetric C without negative eigenvalues but for rounding."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * values.clamp(min=0).sqrt()
    return root


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T).div_(x.shape[1]).add_(1).pow_(3)


def _distances(points: Tensor, others: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Distances of `points`, a block of rows at a time, to all `others`: (first row, rows×M)."""
    squares = others.square().sum(1)
    for first in range(0, len(points), _BLOCK):
        rows = points[first : first + _BLOCK]
        squared = torch.addmm(squares, rows, others.T, alpha=-2).add_(rows.square().sum(1)[:, None])
        yield first, squared.clamp_(min=0).sqrt_()


def _radii(points: Tensor, k: int) -> Tensor:
    """Distance of each point to its k-th nearest neighbour, itself not counted: (N,)."""
    found = []
    for first, distances in _distances(points, points):
        itself = torch.arange(len(distances), device=points.device)
        distances[itself, first + itself] = torch.inf
        found.append(distances.kthvalue(k, dim=1).values)
    return torch.cat(found)


def _balls_around(points: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    """In how many of the balls each point lies: (N,)."""
    return torch.cat([(distances <= radii).sum(1) for _, distances in _distances(points, centres)])


def _enough(count: int, fewest: int, what: str) -> None:
    if count < fewest:
        raise DataError(
            f"{what} need at least {fewest} images of each set, not {count}; score a larger split or subset"
        )
