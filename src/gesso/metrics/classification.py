"""Scores of predicted classes, as counts that add up.

Nothing here is a mean: a batch gives whole numbers in tensors, batches and processes are summed, and only the sums
become accuracies. So a last batch that is smaller than the others weighs no more than its images.
"""

import torch
from torch import Tensor


def confusion(truth: Tensor, predicted: Tensor, classes: int, ignored: int | None = None) -> Tensor:
    """How often each class was taken for each: K×K int64, row the true class, column the predicted one.

    Both are integer tensors of one shape. Where the truth is `ignored` nothing is counted; elsewhere both must lie in
    0 … K - 1.
    """
    assert truth.shape == predicted.shape, (truth.shape, predicted.shape)
    if ignored is not None:
        scored = truth != ignored
        truth, predicted = truth[scored], predicted[scored]
    cells = truth.flatten().long() * classes + predicted.flatten().long()
    return torch.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def correct(scores: Tensor, labels: Tensor, among: tuple[int, ...] = (1, 5)) -> Tensor:
    """For each k of `among`, how many images have their true class among the k highest scores: (len(among),) int64.

    scores: N×K, one row an image; labels: (N,) in 0 … K - 1. Where there are fewer than k classes, k is K. An image
    with a NaN among its scores counts as wrong, because a sort would call NaN the highest.
    """
    best = scores.topk(min(max(among), scores.shape[1]), dim=1).indices
    hits = (best == labels[:, None]) & ~scores.isnan().any(1, keepdim=True)
    return torch.stack([hits[:, :k].sum() for k in among])


def class_accuracy(matrix: Tensor) -> Tensor:
    """The share of each class's images that were recognised, from `confusion`: (K,) float64, NaN where it has none."""
    return matrix.diagonal().double() / matrix.sum(1).double()
