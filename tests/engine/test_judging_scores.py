"""The scores of translators beyond L1: right numbers, in the directions where they have a meaning, or one line."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from judged import Means, Squares, answering, quiet, saved, saved_segmenter, write_streets
from PIL import Image
from torch import Tensor

from conftest import toy
from gesso.data.images import write_image
from gesso.engine.judging import open_judge
from gesso.engine.judging.measures import CPU
from gesso.engine.judging.scorers import Asked, CityscapesScorer, DistributionScorer, PairedScorer, SegmenterScorer
from gesso.engine.judging.translation import TranslationJudge
from gesso.errors import DataError, UsageError
from gesso.metrics.cityscapes import CONVENTIONS, predicted_classes
from gesso.metrics.distribution import frechet_distance
from gesso.metrics.features_gathered import gather
from gesso.metrics.segmenter import load_segmenter
from gesso.recipe import TranslationData, TranslationEvaluation, from_json


def asked(name: str, root: Path, *metrics: str, **fields: Any) -> Any:
    """A toy recipe that asks for `metrics`."""
    data = TranslationData(root=str(root), load_size=32, crop_size=32)
    chosen = TranslationEvaluation(metrics=metrics, **fields)  # type: ignore[arg-type]
    return toy(name, root, data=data, evaluation=chosen)


def judge_of(recipe: Any, answer: Any) -> TranslationJudge:
    return open_judge(answering(recipe.checked(), answer), "auto", quiet)


def echo(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The input as the answer, in either direction."""
    return {f"fake_{'B' if role == 'A' else 'A'}": images for role, images in batch.items()}


def knowing(judge: TranslationJudge, role: str) -> Any:
    """Answers that are the true images of `role`, in order, as they are on disk."""
    images = iter(
        [torch.from_numpy(np.array(judge.store.get((role, i)))) for i in range(judge.store.source.counts[role])]
    )

    def answer(batch: dict[str, Tensor], networks: Any = None) -> dict[str, Tensor]:
        count = len(next(iter(batch.values())))
        return {f"fake_{role}": torch.stack([next(images) for _ in range(count)]) / 127.5 - 1}

    return answer


def write_zebras(root: Path, counts: dict[str, int]) -> Path:
    """Unpaired folders of noise."""
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True)
        for i in range(count):
            noise = np.random.default_rng([i, len(folder), ord(folder[-1])]).integers(0, 256, (32, 32, 3), np.uint8)
            write_image(root / folder / f"{i}.png", noise)
    return root


@pytest.fixture
def inception(tmp_path: Path) -> str:
    return saved(Means(), tmp_path / "means.pt")


@pytest.fixture
def streets(tmp_path: Path) -> Path:
    return write_streets(tmp_path / "streets", {"train": 2, "val": 5})


def test_fid_is_that_of_all_answers_against_all_real_images(pairs: Path, inception: str) -> None:
    judge = judge_of(asked("cyclegan", pairs, "FID", inception=inception), echo)
    rows = judge.rows(CPU, batch_size=3)
    sets = {}
    for role in "AB":
        values = np.stack([judge.store.get((role, i)) for i in range(4)]).astype(np.float32)
        enlarged = torch.nn.functional.interpolate(torch.from_numpy(values), (299, 299), mode="bilinear")
        features = Means()((enlarged - 128) / 128).double().numpy()
        sets[role] = (torch.from_numpy(features.mean(0)), torch.from_numpy(np.cov(features.T)))
    expected = frechet_distance(*sets["A"], *sets["B"])
    assert [(row["direction"], row["method"]) for row in rows] == [
        (direction, method) for direction in ("AtoB", "BtoA") for method in ("gesso", "input copied")
    ]
    assert [row["FID"] for row in rows] == pytest.approx([expected] * 4, rel=1e-3)
    assert judge.headline(rows).keys() == {"AtoB/FID", "BtoA/FID"}


def test_unpaired_splits_have_distances_with_the_numbers_of_both_sets(tmp_path: Path, inception: str) -> None:
    root = write_zebras(tmp_path / "zebras", {"trainA": 2, "trainB": 2, "testA": 3, "testB": 5})
    recipe = asked("cyclegan", root, "paired", "FID", "KID", inception=inception)
    judge = judge_of(recipe, echo)
    rows = judge.rows(CPU)
    assert len(rows) == 4
    assert all(row.keys() == {"direction", "method", "FID", "KID", "KID std"} for row in rows)
    told = "\n".join(judge.protocol())
    assert "all of B, N = 5; fake: all of A translated, N = 3" in told
    assert "all of A, N = 3; fake: all of B translated, N = 5" in told
    assert judge.scored == {f"{way}/{name}": False for way in ("AtoB", "BtoA") for name in ("FID", "KID")}
    assert judge.preferred == "AtoB/FID"


@pytest.mark.parametrize(("metrics", "scored"), [(("paired",), False), (("paired", "FID"), True)])
def test_a_protocol_says_that_all_are_scored_only_where_some_are(
    tmp_path: Path, inception: str, metrics: tuple[str, ...], scored: bool
) -> None:
    root = write_zebras(tmp_path / "zebras", {"trainA": 2, "trainB": 2, "testA": 3, "testB": 5})
    told = "\n".join(judge_of(asked("cyclegan", root, *metrics, inception=inception), echo).protocol())
    assert ("all of them scored" in told) is scored
    assert ("no scores: the split has no pairs" in told) is not scored


def test_mean_target_has_no_distance_but_paired_scores(pairs: Path, inception: str) -> None:
    rows = judge_of(asked("pix2pix", pairs, "paired", "FID", inception=inception), echo).rows(CPU)
    assert [set(row) - {"direction", "method"} for row in rows] == [
        {"L1", "PSNR", "SSIM", "FID"},
        {"L1", "PSNR", "SSIM", "FID"},
        {"L1", "PSNR", "SSIM"},
    ]


def test_l1_chooses_the_best_where_it_is_scored_whatever_else_is(pairs: Path, inception: str) -> None:
    judge = judge_of(asked("cyclegan", pairs, "FID", "paired", inception=inception), echo)
    assert judge.preferred == "AtoB/L1"
    assert judge.scored["BtoA/FID"] is False and judge.scored["BtoA/SSIM"] is True


@pytest.mark.parametrize("classes", [19, 20])
def test_true_label_maps_score_one_and_others_do_not(streets: Path, classes: int) -> None:
    judge = judge_of(asked("cyclegan", streets, "cityscapes", classes=classes), echo)
    judge.model.predict = lambda batch, networks=None: {  # type: ignore[method-assign]
        **(truth(batch) if "A" in batch else echo(batch))
    }
    truth = knowing(judge, "B")
    rows = {row["method"]: row for row in judge.rows(CPU, batch_size=2)}
    assert {row["direction"] for row in rows.values()} == {"AtoB"}
    perfect = {"pixel_accuracy": 1.0, "class_accuracy": 1.0 if classes == 19 else 0.95}
    perfect["class_IoU"] = perfect["class_accuracy"]  # unlabeled does not occur, and counts 0 in the convention of 20
    assert {name: rows["gesso"][name] for name in perfect} == pytest.approx(perfect)
    assert rows["input copied"]["pixel_accuracy"] < 0.2
    assert rows["mean target"]["pixel_accuracy"] < 0.6
    found = judge.details()["segmentation"]["AtoB"]
    assert len(found["classes"]) == len(found["confusion"]) == classes
    assert sum(each["pixels"] for each in found["classes"]) == 5 * 32 * 32
    assert f"convention of {classes} classes" in "\n".join(judge.protocol())


def test_truth_is_resized_by_the_nearest_pixel_and_not_smoothed(tmp_path: Path) -> None:
    """Label maps of 128 px are scored at 32: answers that pick the nearest pixel are right everywhere."""
    root = write_streets(tmp_path / "fine", {"train": 1, "val": 2}, label_size=128)
    judge = judge_of(asked("pix2pix", root, "cityscapes"), echo)
    fine = [Image.open(root / "B" / "val" / f"{i}.png").resize((32, 32), Image.Resampling.NEAREST) for i in range(2)]
    picked = torch.from_numpy(np.stack(fine).transpose(0, 3, 1, 2).copy()) / 127.5 - 1
    one_by_one = iter(torch.split(picked, 1))
    judge.model.predict = lambda batch, networks=None: {"fake_B": next(one_by_one)}  # type: ignore[method-assign]
    assert judge.rows(CPU)[0]["pixel_accuracy"] == 1
    # What the network is trained on was smoothed: some edges between classes pass for others.
    judge = judge_of(asked("pix2pix", root, "cityscapes"), echo)
    judge.model.predict = knowing(judge, "B")  # type: ignore[method-assign]
    assert judge.rows(CPU)[0]["pixel_accuracy"] < 1


def test_segmenter_reads_photos_drawn_from_labels_at_the_labels_size(tmp_path: Path) -> None:
    root = write_streets(tmp_path / "fine", {"train": 1, "val": 3}, label_size=64)
    network = saved_segmenter(tmp_path / "by_colour.pt")
    recipe = asked("cyclegan", root, "segmenter", segmenter=network)
    judge = judge_of(recipe, echo)
    rows = judge.rows(CPU)
    assert {row["direction"] for row in rows} == {"BtoA"}
    # The echo draws the labels' own colours, at half their size: right but for the edges.
    assert 0.6 < rows[0]["pixel_accuracy"] <= 1 and rows[0]["pixel_accuracy"] == rows[1]["pixel_accuracy"]
    assert rows[2]["pixel_accuracy"] < 0.2  # the mean of noise is grey
    assert sum(c["pixels"] for c in judge.details()["segmentation"]["BtoA"]["classes"]) == 3 * 64 * 64
    assert "by_colour.pt (sha256 " in "\n".join(judge.protocol())


def test_labels_may_be_domain_a(streets: Path, tmp_path: Path) -> None:
    (streets / "B").rename(tmp_path / "labels")
    (streets / "A").rename(streets / "B")
    (tmp_path / "labels").rename(streets / "A")
    judge = judge_of(asked("cyclegan", streets, "cityscapes", labels="A"), echo)
    assert set(judge.scored) == {"BtoA/pixel_accuracy", "BtoA/class_accuracy", "BtoA/class_IoU"}


def test_lpips_is_the_mean_distance_over_images(pairs: Path, tmp_path: Path) -> None:
    network = saved(Squares(), tmp_path / "squares.pt")
    judge = judge_of(asked("pix2pix", pairs, "LPIPS", lpips=network), echo)
    a, b = (np.stack([judge.store.get((role, i)) for i in range(4)]) / 127.5 - 1 for role in "AB")
    rows = judge.rows(CPU, batch_size=3)
    assert rows[0]["LPIPS"] == pytest.approx(np.square(a - b).mean(), rel=1e-5)
    assert judge.scored == {"AtoB/LPIPS": False}


def test_baselines_are_scored_once_and_the_model_each_time(pairs: Path) -> None:
    judge = judge_of(asked("pix2pix", pairs, "paired"), echo)
    first = judge.rows(CPU)
    judge.model.predict = lambda batch, networks=None: {"fake_B": -batch["A"]}  # type: ignore[method-assign]
    second = judge.rows(CPU)
    assert first[1:] == second[1:] and len(second) == 3
    assert second[0]["L1"] < 1e-6 < first[0]["L1"]


@pytest.mark.parametrize("name", ["LPIPS", "segmenter"])
def test_a_score_without_its_network_is_one_line_that_names_the_flag(name: str, pairs: Path) -> None:
    with pytest.raises(UsageError, match=rf"metrics {name}: .*--evaluation\.{name.lower()}"):
        asked("pix2pix", pairs, name).checked()


@pytest.mark.parametrize("name", ["FID", "LPIPS", "segmenter"])
def test_a_missing_or_wrong_file_is_refused_when_the_judge_is_opened(name: str, streets: Path, tmp_path: Path) -> None:
    field = {"FID": "inception"}.get(name, name.lower())
    wrong = tmp_path / "wrong.pt"
    recipe = asked("cyclegan", streets, name, **{field: str(wrong)})
    with pytest.raises(UsageError, match=r"wrong\.pt: no such file"):
        judge_of(recipe, echo)
    wrong.write_bytes(b"no network")
    with pytest.raises(UsageError, match=r"wrong\.pt: no"):
        judge_of(recipe, echo)
    saved(torch.nn.Flatten(0), wrong)
    wrong.with_suffix(".json").write_text('{"mean": [0, 0, 0], "std": [1, 1, 1]}')
    with pytest.raises(UsageError, match=r"wrong\.pt: ") as told:
        judge_of(recipe, echo)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["LPIPS", "cityscapes", "segmenter"])
def test_scores_against_a_partner_are_refused_without_pairs(name: str, tmp_path: Path) -> None:
    root = write_zebras(tmp_path / "zebras", {"trainA": 2, "trainB": 2, "testA": 2, "testB": 2})
    recipe = asked("cyclegan", root, name, lpips="unread.pt", segmenter="unread.pt")
    with pytest.raises(DataError, match=f"metrics {name}: it needs pairs, and split test of zebras has none"):
        judge_of(recipe, echo)


def test_scores_of_a_direction_that_the_model_lacks_are_refused(streets: Path) -> None:
    recipe = dataclasses.replace(asked("pix2pix", streets, "cityscapes"), direction="BtoA")
    with pytest.raises(UsageError, match=r"no direction of this model draws labels, which .* are domain B"):
        judge_of(recipe, echo)


def test_grey_labels_are_refused(streets: Path) -> None:
    recipe = asked("pix2pix", streets, "cityscapes")
    grey = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, channels_b=1))
    with pytest.raises(UsageError, match=r"--data.channels-b 1: labels are scored by their colours"):
        grey.checked()


def test_too_few_images_are_refused_when_the_judge_is_opened(pairs: Path, inception: str) -> None:
    with pytest.raises(DataError, match="pairs, split val: coverage needs 6 or more images of each set, not 4"):
        judge_of(asked("pix2pix", pairs, "FID", "coverage", inception=inception), echo)


def test_the_evaluation_survives_json(pairs: Path) -> None:
    recipe = asked("cyclegan", pairs, "FID", "cityscapes", classes=20, labels="A")
    assert from_json(recipe.to_json()) == recipe


def halves(make: Any, made: Tensor, targets: Tensor) -> tuple[Any, Any]:
    """A scorer that saw all images, and one merged of two that saw some each."""
    whole, first, second = make(0), make(0), make(2)
    whole.add(made, Asked(list(range(len(made))), targets))
    first.add(made[:2], Asked([0, 1], targets[:2]))
    second.add(made[2:], Asked(list(range(2, len(made))), targets[2:]))
    first.merge(second.part)
    return whole, first


def test_merged_scorers_give_what_one_gives_that_saw_all(tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(0)
    made, targets = (torch.rand(5, 3, 16, 16, generator=random) * 2 - 1 for _ in range(2))
    truth = [predicted_classes(image[None], CONVENTIONS[19])[0] for image in targets]
    segmenter = load_segmenter(Path(saved_segmenter(tmp_path / "seg.pt")), CPU)

    class Projection:
        name = digest = "first pixels"

        def __call__(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :3]

    real = gather([targets], Projection(), keep=10)
    makers = [
        lambda first: PairedScorer(),
        lambda first: CityscapesScorer(truth.__getitem__, CONVENTIONS[19]),
        lambda first: SegmenterScorer(truth.__getitem__, CONVENTIONS[19], segmenter),
        lambda first: DistributionScorer(Projection(), real, ("FID", "precision"), first),
    ]
    for make in makers:
        whole, merged = halves(make, made, targets)
        assert merged.scores() == pytest.approx(whole.scores())
        assert merged.details() == whole.details()


def test_images_too_small_for_ssim_do_not_lower_its_mean() -> None:
    scorer = PairedScorer()
    for side in (8, 16):
        images = torch.linspace(-1, 1, 3 * side * side).reshape(1, 3, side, side)
        scorer.add(images, Asked([0], images))
    assert scorer.scores()["SSIM"] == pytest.approx(1)
