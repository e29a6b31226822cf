"""Counts of right answers, against torchmetrics and by hand."""

import math

import pytest
import torch
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix

from gesso.metrics.classification import class_accuracy, confusion, correct


def answers(count: int = 200, classes: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(count, classes, generator=generator)
    labels = torch.randint(classes, (count,), generator=generator)
    scores[torch.arange(count), labels] += 0.8
    return scores, labels


@pytest.mark.parametrize("k", [1, 3, 5])
def test_top_k_is_that_of_torchmetrics(k: int) -> None:
    scores, labels = answers()
    expected = multiclass_accuracy(scores, labels, 7, average="micro", top_k=k)
    assert correct(scores, labels, (k,)).item() / 200 == pytest.approx(expected.item())


def test_batches_add_up_to_the_whole() -> None:
    scores, labels = answers()
    parts = zip(scores.split(64), labels.split(64), strict=True)
    assert torch.equal(sum(correct(s, y) for s, y in parts), correct(scores, labels))
    parts = zip(scores.argmax(1).split(64), labels.split(64), strict=True)
    assert torch.equal(sum(confusion(y, p, 7) for p, y in parts), confusion(labels, scores.argmax(1), 7))


def test_top_5_of_fewer_classes_is_all_of_them() -> None:
    scores, labels = answers(classes=3)
    assert correct(scores, labels).tolist()[1] == 200


def test_scores_that_are_not_numbers_are_wrong() -> None:
    scores, labels = torch.full((2, 3), math.nan), torch.tensor([0, 2])
    scores[1] = torch.tensor([0.0, 1.0, 2.0])
    assert correct(scores, labels, (1, 3)).tolist() == [1, 1]


def test_confusion_is_that_of_torchmetrics() -> None:
    scores, labels = answers()
    labels[:20] = 255
    matrix = confusion(labels, scores.argmax(1), 7, ignored=255)
    assert matrix.dtype == torch.int64 and matrix.sum() == 180
    assert torch.equal(matrix, multiclass_confusion_matrix(scores, labels, 7, ignore_index=255))


def test_class_255_of_many_is_counted_like_any_other() -> None:
    matrix = confusion(torch.tensor([255, 255, 3]), torch.tensor([255, 3, 3]), 1000)
    assert matrix.sum() == 3 and matrix[255].sum() == 2


def test_rows_are_the_truth() -> None:
    assert confusion(torch.tensor([0, 0, 1]), torch.tensor([1, 1, 1]), 2).tolist() == [[0, 2], [0, 1]]


def test_class_accuracy_is_that_of_torchmetrics() -> None:
    scores, labels = answers()
    expected = multiclass_accuracy(scores, labels, 7, average="none")
    torch.testing.assert_close(class_accuracy(confusion(labels, scores.argmax(1), 7)).float(), expected)


def test_a_class_without_images_has_no_accuracy() -> None:
    accuracy = class_accuracy(torch.tensor([[3, 1], [0, 0]]))
    assert accuracy[0] == 0.75 and accuracy[1].isnan()
