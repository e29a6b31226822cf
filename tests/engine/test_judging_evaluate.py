"""`gesso evaluate` with other scores than the recipe's: they are shown, and the run's own metrics.json stays."""

import dataclasses
import json
from pathlib import Path

import pytest
from judged import Means, Squares, saved, saved_segmenter, write_streets

from conftest import toy, write_pairs
from gesso.engine.finish import table
from gesso.engine.score import evaluated_by, score_run
from gesso.engine.train import train
from gesso.errors import UsageError
from gesso.recipe import Checkpoints, TranslationEvaluation


@pytest.fixture(scope="module")
def streets_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished toy run of CycleGAN that was scored by L1 and its like. Only metrics.json may be written to."""
    folder = tmp_path_factory.mktemp("evaluate")
    root = write_streets(folder / "streets", {"train": 2, "val": 4})
    return train(toy("cyclegan", root, epochs=1), runs=folder / "runs", name="toy").path


def test_all_scores_in_one_table_and_the_runs_own_ones_stay(streets_run: Path, tmp_path: Path) -> None:
    before = (streets_run / "metrics.json").read_bytes()
    scores = score_run(
        streets_run,
        device="cpu",
        precision="fp32",
        metrics=("paired", "FID", "cityscapes", "segmenter", "LPIPS"),
        inception=saved(Means(), tmp_path / "means.pt"),
        lpips=saved(Squares(), tmp_path / "squares.pt"),
        segmenter=saved_segmenter(tmp_path / "segmenter.pt"),
        classes=20,
    )
    lines = table(scores)
    names = "direction method L1 PSNR SSIM FID LPIPS pixel_accuracy class_accuracy class_IoU"
    assert " ".join(lines[0].split()) == names
    assert [line.split()[0] for line in lines[1:7]] == ["AtoB"] * 3 + ["BtoA"] * 3
    assert lines[3].split()[:7][-1] == "–"  # the mean target has no FID
    assert len({len(line) for line in lines[:7]}) == 1  # columns stand under each other
    told = "\n".join(lines[7:])
    assert "AtoB: pixel_accuracy" in told and "20 classes" in told
    assert "BtoA: pixel_accuracy" in told and "segmenter.pt (sha256 " in told
    assert (streets_run / "metrics.json").read_bytes() == before


def test_an_arithmetic_that_this_machine_has_not_is_replaced_with_a_word(
    streets_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choices = {name: {"value": "False"} for name in ("compile", "channels_last")}
    choices |= {"device": {"value": "cpu"}, "precision": {"value": "tf32"}}
    monkeypatch.setattr("gesso.engine.score.read_environment", lambda run: {"choices": choices})
    score_run(streets_run, device="cpu")
    assert "the run was trained in tf32, which cpu has not: scored in " in capsys.readouterr().err


def test_the_runs_own_scores_are_written_with_strict_json(streets_run: Path) -> None:
    (streets_run / "metrics.json").unlink()
    score_run(streets_run, device="cpu", precision="fp32")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    metrics = json.loads((streets_run / "metrics.json").read_text(), parse_constant=refuse)
    assert {row["method"] for row in metrics["rows"]} == {"gesso", "input copied", "mean target"}
    assert metrics["better"] == {
        f"{way}/{name}": better
        for way in ("AtoB", "BtoA")
        for name, better in {"L1": "lower", "PSNR": "higher", "SSIM": "higher"}.items()
    }


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("pix2pix", {"metrics": ("SIFT",)}, "--metrics: 'SIFT' is not one of .*'FID'"),
        ("pix2pix", {"classes": 21}, r"--classes: 21 is not one of \(19, 20\)"),
        ("pix2pix", {"images": 5}, "--images: the scores of a pix2pix do not depend on it; its flags are: --metrics"),
        ("dcgan", {"images": 10**12}, "images 1000000000000: must be at most 10000000"),
        ("dcgan", {"lpips": "x.pt"}, "--lpips: the scores of a dcgan .* --metrics, --inception, --images"),
        ("densenet121", {"metrics": ("FID",)}, "--metrics: the scores of a densenet .*; its flags are: --resize$"),
    ],
)
def test_flags_that_cannot_hold_are_one_line(name: str, given: dict[str, object], words: str, pairs: Path) -> None:
    with pytest.raises(UsageError, match=words):
        evaluated_by(toy(name, pairs), given)


def test_what_is_wrong_is_said_of_the_commands_own_flags(streets_run: Path) -> None:
    with pytest.raises(
        UsageError, match=r"^--metrics LPIPS: its network .*; name its file with --lpips; docs/evaluation\.md"
    ):
        score_run(streets_run, metrics=("LPIPS",))
    with pytest.raises(UsageError, match=r"^--lpips none\.pt: no such file"):
        score_run(streets_run, metrics=("LPIPS",), lpips="none.pt")


def test_what_is_wrong_with_a_segmenter_is_said_of_the_flag_of_the_command_that_runs(
    streets_run: Path, tmp_path: Path
) -> None:
    missing = str(tmp_path / "none.onnx")
    with pytest.raises(UsageError, match=r"^--segmenter .*none\.onnx: no such file"):
        score_run(streets_run, metrics=("segmenter",), segmenter=missing)
    recipe = toy("cyclegan", streets_run.parents[1] / "streets")
    asked = TranslationEvaluation(metrics=("segmenter",), segmenter=missing)
    with pytest.raises(UsageError, match=r"^--evaluation\.segmenter .*none\.onnx: no such file"):
        train(dataclasses.replace(recipe, evaluation=asked), runs=tmp_path, name="run")


def test_best_checkpoint_may_be_chosen_by_any_score(tmp_path: Path) -> None:
    root = write_streets(tmp_path / "streets", {"train": 2, "val": 2})
    recipe = toy("pix2pix", root, epochs=1)
    best = type(recipe.checkpoints)(best="atob/class_iou")
    recipe = toy("pix2pix", root, epochs=1, checkpoints=best, evaluation=TranslationEvaluation(metrics=("cityscapes",)))
    run = train(recipe, runs=tmp_path / "runs", name="toy")
    assert run.finished and (run.path / "checkpoints" / "best").exists()
    metrics = json.loads((run.path / "metrics.json").read_text())
    assert len(metrics["segmentation"]["AtoB"]["classes"]) == 19


def test_a_classifier_is_scored_at_another_shorter_side_without_losing_its_own_scores(
    classes: Path, tmp_path: Path
) -> None:
    run = train(toy("densenet-demo", classes, epochs=1), runs=tmp_path, name="run").path
    before = (run / "metrics.json").read_bytes()
    assert "shorter side to 40 px" in score_run(run, device="cpu", precision="fp32", resize=40)["protocol"]
    assert (run / "metrics.json").read_bytes() == before
    with pytest.raises(UsageError, match="--resize 16: smaller than"):
        score_run(run, device="cpu", precision="fp32", resize=16)


def test_a_translators_scores_do_not_know_a_shorter_side(streets_run: Path) -> None:
    with pytest.raises(UsageError, match="--resize 40: only a classifier"):
        score_run(streets_run, device="cpu", precision="fp32", resize=40)


@pytest.mark.parametrize(
    ("splits", "chosen"),
    [
        (
            {"train": 2, "val": 2},
            "L1 on split val; the split that is scored here, so its scores are a little flattering",
        ),
        ({"train": 2, "val": 2, "test": 2}, "L1 on split val"),
    ],
)
def test_the_protocol_says_where_the_split_that_is_scored_chose_the_checkpoint(
    splits: dict[str, int], chosen: str, tmp_path: Path
) -> None:
    root = write_pairs(tmp_path / "pairs", splits)
    run = train(toy("pix2pix", root, epochs=1), runs=tmp_path / "runs", name="toy").path
    protocol = json.loads((run / "metrics.json").read_text())["protocol"].splitlines()
    assert protocol[-1] == f"checkpoint: chosen by AtoB/{chosen}"


def test_the_protocol_is_silent_where_no_score_chose_the_checkpoint(pairs: Path, tmp_path: Path) -> None:
    recipe = toy("pix2pix", pairs, epochs=1, checkpoints=Checkpoints(every=1, best="none"))
    run = train(recipe, runs=tmp_path / "runs", name="toy").path
    assert "chosen" not in json.loads((run / "metrics.json").read_text())["protocol"]
