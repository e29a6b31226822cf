"""The loop: what a run leaves behind, and that stopping it changes nothing."""

import dataclasses
import json
import os
import signal
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from conftest import toy
from gesso.engine import checkpoint
from gesso.engine.runlog import read_log
from gesso.engine.train import resume, train
from gesso.errors import CheckpointError, UsageError
from gesso.models.cyclegan import CycleGAN
from gesso.models.pix2pix import Pix2Pix
from gesso.recipe import Checkpoints, Recipe, Tracking

MODELS = {"pix2pix": Pix2Pix, "cyclegan": CycleGAN}


def weights(run: Path) -> dict[str, torch.Tensor]:
    """Every tensor of the newest checkpoint."""
    newest = checkpoint.list_checkpoints(run)[-1]
    tensors = {f"{f.stem}.{k}": v for f in newest.glob("*.safetensors") for k, v in load_file(f).items()}
    assert tensors
    return tensors


def same(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def stop_at(monkeypatch: pytest.MonkeyPatch, recipe: Recipe, step: int, number: signal.Signals) -> None:
    """Send ourselves `number` in the middle of training step `step`."""
    kind = MODELS[recipe.model]
    original = kind.train_step
    steps = iter(range(10**6))

    def train_step(self, batch, rng):  # type: ignore[no-untyped-def]
        if next(steps) == step:
            os.kill(os.getpid(), number)
        return original(self, batch, rng)

    monkeypatch.setattr(kind, "train_step", train_step)


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_stopped_run_resumes_to_the_same_weights(
    name: str, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = toy(name, pairs, ema=50.0)
    whole = train(recipe, runs=tmp_path, name="whole")
    assert whole.finished
    with monkeypatch.context() as patch:
        stop_at(patch, recipe, 7, signal.SIGTERM)
        stopped = train(recipe, runs=tmp_path, name="stopped")
    assert not stopped.finished
    assert checkpoint.list_checkpoints(stopped.path)[-1].name == "000000016"  # the step of the signal was finished
    assert not same(whole.path, stopped.path)
    resumed = train(recipe, runs=tmp_path, name="stopped")
    assert resumed.finished
    assert same(whole.path, resumed.path)
    assert "G_ema.weight" in " ".join(weights(whole.path)) or any("_ema" in key for key in weights(whole.path))


def test_seed_changes_the_weights(pairs: Path, tmp_path: Path) -> None:
    recipe = toy("pix2pix", pairs, epochs=0.25)
    one = train(recipe, runs=tmp_path, name="one").path
    other = train(dataclasses.replace(recipe, seed=1), runs=tmp_path, name="other").path
    assert not same(one, other)


def test_training_beats_the_untrained_generator(pairs: Path, tmp_path: Path) -> None:
    recipe = toy("pix2pix-resnet9", pairs, epochs=6)
    run = train(recipe, runs=tmp_path, name="run")
    l1 = [r["scores"]["AtoB/L1"] for r in read_log(run.path / "log.jsonl") if r["kind"] == "metric"]
    assert l1[-1] < l1[0]


def test_run_folder_holds_what_it_promises(pairs: Path, tmp_path: Path) -> None:
    run = train(toy("cyclegan", pairs), runs=tmp_path, name="run").path
    for name in ("recipe.json", "environment.json", "log.jsonl", "metrics.json", "index.html"):
        assert (run / name).stat().st_size > 0
    assert (run / "samples" / "000000048.png").exists()
    assert (run / "samples" / "slider" / "AtoB_00000_output.png").exists()
    assert (run / "checkpoints" / "latest").read_text().strip() == "000000048"
    assert (run / "checkpoints" / (run / "checkpoints" / "best").read_text().strip()).is_dir()
    environment = json.loads((run / "environment.json").read_text())
    assert environment["choices"]["precision"] == {"value": "fp32", "reason": "asked for"}
    kinds = [record["kind"] for record in read_log(run / "log.jsonl")]
    assert kinds[0] == "start" and kinds[-1] == "finish"
    assert {"loss", "metric", "sheet", "checkpoint"} <= set(kinds)


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_log_lines_keep_their_pace_with_any_batch_size(batch: int, pairs: Path, tmp_path: Path) -> None:
    run = train(toy("pix2pix", pairs, batch_size=batch), runs=tmp_path, name="run").path
    seen = [record["images"] for record in read_log(run / "log.jsonl") if record["kind"] == "loss"]
    assert [images // 8 for images in seen] == [1, 2, 3, 4, 5, 6]


def test_only_the_newest_and_the_best_checkpoints_are_kept(pairs: Path, tmp_path: Path) -> None:
    recipe = toy("pix2pix", pairs, checkpoints=Checkpoints(every=0.25, keep=2))
    run = train(recipe, runs=tmp_path, name="run").path
    best = (run / "checkpoints" / "best").read_text().strip()
    names = {path.name for path in checkpoint.list_checkpoints(run)}
    assert names == {"000000042", "000000048"} | {best}


def test_same_command_on_a_finished_run_does_no_step(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = toy("pix2pix", pairs, epochs=0.5)
    first = train(recipe, runs=tmp_path, name="run")
    monkeypatch.setattr(Pix2Pix, "train_step", None)
    again = train(recipe, runs=tmp_path, name="run")
    assert again.finished and again.rows == first.rows


def test_another_recipe_in_the_folder_is_refused(pairs: Path, tmp_path: Path) -> None:
    recipe = toy("pix2pix", pairs, epochs=0.5)
    train(recipe, runs=tmp_path, name="run")
    with pytest.raises(UsageError, match=r"--batch-size 1 \(was 2\).*--overwrite"):
        train(dataclasses.replace(recipe, batch_size=1), runs=tmp_path, name="run")


def test_overwrite_moves_the_old_run_aside(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = toy("pix2pix", pairs, epochs=0.5)
    train(recipe, runs=tmp_path, name="run")
    before = weights(tmp_path / "run")
    train(dataclasses.replace(recipe, seed=3), runs=tmp_path, name="run", overwrite=True)
    kept = weights(tmp_path / "run.old-1")
    assert all(torch.equal(before[key], kept[key]) for key in before)
    assert f"the run that was {tmp_path / 'run'} is now {tmp_path / 'run.old-1'}" in capsys.readouterr().err


def test_flipped_byte_is_found_and_the_checkpoint_before_used(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = toy("pix2pix", pairs)
    whole = train(recipe, runs=tmp_path, name="whole").path
    train(recipe, runs=tmp_path, name="run")
    newest = checkpoint.list_checkpoints(tmp_path / "run")[-1]
    content = bytearray((newest / "G.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (newest / "G.safetensors").write_bytes(content)
    resumed = train(recipe, runs=tmp_path, name="run")
    assert "G.safetensors is not what was written" in capsys.readouterr().err
    assert resumed.finished
    assert same(whole, resumed.path)


def test_resume_with_more_epochs_goes_on(pairs: Path, tmp_path: Path) -> None:
    run = train(toy("pix2pix", pairs, epochs=1), runs=tmp_path, name="run").path
    resume(run, epochs=2)
    assert checkpoint.list_checkpoints(run)[-1].name == "000000048"


def test_starts_from_the_weights_of_another_run(pairs: Path, tmp_path: Path) -> None:
    given = train(toy("cyclegan", pairs, epochs=0.5), runs=tmp_path, name="given").path
    recipe = toy("cyclegan", pairs, epochs=1 / 24, start_from=(str(given),))
    recipe = dataclasses.replace(
        recipe, optimizer=dataclasses.replace(recipe.optimizer, generator_lr=1e-12, discriminator_lr=1e-12)
    )
    started = train(recipe, runs=tmp_path, name="started").path
    a, b = weights(given), weights(started)
    assert all(torch.allclose(a[key], b[key], atol=1e-6) for key in a)


def test_weights_of_another_architecture_are_refused(pairs: Path, tmp_path: Path) -> None:
    given = train(toy("pix2pix", pairs, epochs=0.25), runs=tmp_path, name="given").path
    file = checkpoint.list_checkpoints(given)[-1] / "G.safetensors"
    with pytest.raises(CheckpointError, match="of another architecture"):
        train(toy("cyclegan", pairs, start_from=(f"G_A={file}",)), runs=tmp_path, name="run")


def test_a_training_that_is_refused_when_all_is_open_leaves_no_folder(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise UsageError("as a picture that cannot be read")

    monkeypatch.setattr(Pix2Pix, "prepare", refuse)
    curves = Tracking(trackers=("tensorboard",))
    with pytest.raises(UsageError, match="as a picture"):
        train(toy("pix2pix", pairs, tracking=curves), runs=tmp_path / "runs", name="run")
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize("end", [UsageError("as a picture that cannot be read"), KeyboardInterrupt()])
@pytest.mark.parametrize("place", ["gesso.models.pix2pix.Pix2Pix.prepare", "gesso.engine.runs.write_atomically"])
def test_a_training_that_does_not_begin_gives_the_name_back_to_the_run_that_was_moved_aside(
    end: BaseException, place: str, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = toy("pix2pix", pairs, epochs=0.25)
    train(recipe, runs=tmp_path, name="run")
    before = weights(tmp_path / "run")

    def refuse(*_: object) -> None:
        raise end

    monkeypatch.setattr(place, refuse)
    with pytest.raises(type(end)):
        train(dataclasses.replace(recipe, seed=3), runs=tmp_path, name="run", overwrite=True)
    kept = weights(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("run")] == ["run"]
    assert all(torch.equal(before[key], kept[key]) for key in before)


def test_a_run_that_has_no_checkpoint_is_not_moved_aside(pairs: Path, tmp_path: Path) -> None:
    recipe = toy("pix2pix", pairs, epochs=0.25)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text(recipe.to_json())
    assert train(dataclasses.replace(recipe, seed=3), runs=tmp_path, name="run", overwrite=True).finished
    assert not (tmp_path / "run.old-1").exists()


def test_a_run_that_the_new_one_begins_with_is_not_moved_aside(pairs: Path, tmp_path: Path) -> None:
    recipe = toy("pix2pix", pairs, epochs=0.25)
    train(recipe, runs=tmp_path, name="run")
    again = dataclasses.replace(recipe, start_from=(str(tmp_path / "run"),))
    with pytest.raises(UsageError, match=r"--overwrite would move .*run aside"):
        train(again, runs=tmp_path, name="run", overwrite=True)
    assert not (tmp_path / "run.old-1").exists()


def test_two_processes_do_not_train_one_run(pairs: Path, tmp_path: Path) -> None:
    from gesso.engine.runs import lock_run

    recipe = toy("pix2pix", pairs, epochs=0.25)
    run = train(recipe, runs=tmp_path, name="run").path
    lock = lock_run(run)
    with pytest.raises(UsageError, match="another process"):
        train(recipe, runs=tmp_path, name="run")
    lock.release()


def test_files_that_are_no_pairs_are_doubted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(4):
        (tmp_path / "set" / "train").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (60 * i, 0, 0)).save(tmp_path / "set" / "train" / f"{i}.png")
    train(toy("pix2pix", tmp_path / "set", epochs=0.5), runs=tmp_path, name="run")
    told = "0.png: 32×32 px are taken for A and B side by side, 16×32 px each; images that are no pairs go into A/"
    assert told in capsys.readouterr().out
