"""Several processes that train one run do what one process would do with all their images."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from worlds_steps import gradients

from conftest import toy
from gesso.cli import main
from gesso.data.order import indices
from gesso.data.stream import Stream
from gesso.engine.runlog import read_log
from gesso.engine.runs import read_environment
from gesso.processes import ALONE
from gesso.recipe import CycleGANLoss, Recipe
from publications import write_imagenet
from worlds import Worlds


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    with Worlds() as server:
        yield server


def shared(worlds: Worlds, recipe: Recipe, out: Path) -> list[dict[str, Any]]:
    assert worlds.run(out, call="worlds_steps:part", recipe=recipe.to_json()) == [0, 0], (out / "1.txt").read_text()
    return [torch.load(out / f"{rank}.pt") for rank in range(2)]


def recipes(pairs: Path, classes: Path) -> dict[str, Recipe]:
    """One of each model, without what draws at random or remembers: those differ between processes by design."""
    paper: Any = toy("pix2pix", pairs)
    densenet: Any = toy("densenet-demo", classes, sync_batch_norm=True)
    return {
        "pix2pix": dataclasses.replace(
            paper,
            generator=dataclasses.replace(paper.generator, norm="instance", dropout=0.0),
            discriminator=dataclasses.replace(paper.discriminator, norm="instance"),
        ),
        "cyclegan": toy("cyclegan", pairs, loss=CycleGANLoss(pool_size=0)),
        "dcgan": toy("dcgan", pairs, sync_batch_norm=True),
        "densenet": dataclasses.replace(densenet, data=dataclasses.replace(densenet.data, names=("dark", "light"))),
    }


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan", "dcgan", "densenet"])
def test_gradients_of_two_processes_are_those_of_one_with_both_batches(
    name: str, worlds: Worlds, pairs: Path, classes: Path, tmp_path: Path
) -> None:
    recipe = recipes(pairs, classes)[name]
    whole = gradients(recipe, ALONE)
    for part in shared(worlds, recipe, tmp_path):
        assert part.keys() == whole.keys()
        for step, found in whole.items():
            scale = max([float(gradient.abs().max()) for gradient in found], default=1.0)
            for gradient, ours in zip(found, part[step], strict=True):
                torch.testing.assert_close(ours, gradient, rtol=1e-4, atol=2e-5 * scale)


def test_pieces_of_two_processes_are_normalised_together(worlds: Worlds, pairs: Path, tmp_path: Path) -> None:
    recipe = recipes(pairs, pairs)["dcgan"]
    # Each process has an image twice, so each piece has one of either, as the whole batch.
    whole = gradients(recipe, ALONE, twice=True)
    job = {"call": "worlds_steps:part", "recipe": dataclasses.replace(recipe, batch_size=2, accumulate=2).to_json()}
    assert worlds.run(tmp_path, **job, twice=True) == [0, 0], (tmp_path / "1.txt").read_text()
    part = torch.load(tmp_path / "0.pt")
    for step in ("step 0", "step 1"):
        scale = max(float(gradient.abs().max()) for gradient in whole[step])
        for gradient, ours in zip(whole[step], part[step], strict=True):
            torch.testing.assert_close(ours, gradient, rtol=1e-4, atol=2e-5 * scale)


def test_without_synchronised_batch_norm_gradients_and_statistics_are_the_means_of_the_processes_own(
    worlds: Worlds, pairs: Path, tmp_path: Path
) -> None:
    recipe = toy("dcgan", pairs)
    one, other = shared(worlds, recipe, tmp_path)
    whole = gradients(recipe, ALONE)
    assert all(torch.equal(a, b) for a, b in zip(one["step 0"], other["step 0"], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(one["statistics"], other["statistics"], strict=True))
    # Means of running means are running means; each process normalised by its own half, so gradients differ.
    first = next(i for i, tensor in enumerate(whole["statistics"]) if tensor.dim() == 1)
    torch.testing.assert_close(one["statistics"][first], whole["statistics"][first])
    assert not torch.allclose(one["step 0"][0], whole["step 0"][0], rtol=1e-3, atol=0)


def test_gradients_that_are_not_finite_in_one_process_discard_the_step_of_all(
    worlds: Worlds, pairs: Path, tmp_path: Path
) -> None:
    recipe = recipes(pairs, pairs)["pix2pix"]
    assert worlds.run(tmp_path, call="worlds_steps:spoiled", recipe=recipe.to_json()) == [0, 0]
    assert [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)] == [{"same": True}] * 2


def test_fifty_worlds_come_together_and_part(worlds: Worlds, tmp_path: Path) -> None:
    for _ in range(50):
        assert worlds.run(tmp_path, call="worlds_steps:meeting") == [0, 0]
    assert (tmp_path / "met").read_text() == "01" * 50


def test_processes_that_parted_come_together_again(worlds: Worlds, tmp_path: Path) -> None:
    for _ in range(10):
        assert worlds.run(tmp_path, call="worlds_steps:twice") == [0, 0]
    assert (tmp_path / "met").read_text() == "0101" * 10


def words(recipe: str, data: Path, runs: Path, *more: str) -> list[str]:
    return ["train", recipe, "--data.root", str(data), "--runs", str(runs), "--name", "run", *more]


TOY = {
    "cyclegan": "--data.load-size 36 --data.crop-size 32 --generator.ngf 4 --generator.blocks 1 --discriminator.ndf 4 "
    "--discriminator.layers 2 --loss.pool-size 6",
    "dcgan-demo": "--data.image-size 32 --networks.ngf 4 --networks.ndf 4 --networks.latent 8",
    "densenet-demo": "--data.image-size 32 --data.resize 32 --network.blocks 1 1 --network.growth 4 "
    "--network.dropout 0.2",
}
STEPS = "-b 2 -e 2 -d fp32 --device cpu --compile off --ema 20 --checkpoints.every 0.5 --evaluation.every 1"
TOLD = "--tracking.log-every 8 --tracking.sheet-every 0 --tracking.trackers"
SHORT = [*STEPS.split(), *TOLD.split()]


def trained(worlds: Worlds, recipe: str, data: Path, folder: Path, *more: str) -> Path:
    """The run of a toy that two processes trained."""
    worlds.gesso(folder / "out", *words(recipe, data, folder, *TOY[recipe].split(), *SHORT, *more))
    return folder / "run"


def weights(run: Path) -> dict[str, bytes]:
    last = max((run / "checkpoints").glob("0*"))
    return {file.name: file.read_bytes() for file in last.glob("*.safetensors")}


@pytest.mark.parametrize(("recipe", "data"), [("cyclegan", "pairs"), ("densenet-demo", "classes")])
def test_a_run_of_two_processes_whose_second_was_killed_resumes_to_the_same_weights(
    recipe: str, data: str, worlds: Worlds, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root: Path = request.getfixturevalue(data)
    whole = trained(worlds, recipe, root, tmp_path / "whole")

    killed = tmp_path / "killed"
    line = words(recipe, root, killed, *TOY[recipe].split(), *SHORT)
    kill = {"rank": 1, "log": str(killed / "run" / "log.jsonl"), "lines": 5}
    codes = worlds.run(tmp_path / "out", arguments=line, kill=kill)
    assert codes == [1, -9]
    assert "another process of this training has ended" in (tmp_path / "out" / "0.txt").read_text()
    worlds.gesso(tmp_path / "out", *line)

    assert weights(killed / "run") == weights(whole)
    assert read_environment(whole)["processes"] == 2


def test_only_the_main_process_speaks_and_writes(worlds: Worlds, pairs: Path, tmp_path: Path) -> None:
    line = words("cyclegan", pairs, tmp_path, *TOY["cyclegan"].split(), *SHORT)
    first, second = worlds.gesso(tmp_path / "out", *line)
    assert "processes: 2, each 2 images a step, 4 in all" in first
    assert first.count("report: ") == 1
    assert second == ""
    kinds = [record["kind"] for record in read_log(tmp_path / "run" / "log.jsonl")]
    assert kinds.count("start") == kinds.count("finish") == 1


def test_a_mistake_of_all_processes_is_told_once(worlds: Worlds, tmp_path: Path) -> None:
    codes = worlds.run(tmp_path / "out", arguments=words("cyclegan", tmp_path / "nothing", tmp_path, *SHORT))
    said = [(tmp_path / "out" / f"{rank}.txt").read_text() for rank in range(2)]
    assert codes[0] == 2
    assert "nothing" in said[0]
    assert len(said[0].splitlines()) == 1
    assert said[1] == ""
    assert codes[1] != 0


def test_a_longer_run_is_written_down_and_trained_by_the_processes_of_one_command(
    worlds: Worlds, pairs: Path, tmp_path: Path
) -> None:
    run = trained(worlds, "cyclegan", pairs, tmp_path)
    worlds.gesso(tmp_path / "out", "resume", str(run), "-e", "3")
    assert read_log(run / "log.jsonl")[-1]["images"] == 72


def test_a_run_that_diverges_is_told_of_once(worlds: Worlds, pairs: Path, tmp_path: Path) -> None:
    wild = "--optimizer.generator-lr 1e30 --guard.returns 0"
    line = words("cyclegan", pairs, tmp_path, *TOY["cyclegan"].split(), *SHORT, *wild.split())
    assert worlds.run(tmp_path / "out", arguments=line) == [3, 3]
    said = [(tmp_path / "out" / f"{rank}.txt").read_text() for rank in range(2)]
    assert said[0].count("diverged") == 2, said[0]
    assert said[1] == ""


def test_networks_in_train_mode_are_used_by_one_process_alone_though_batch_norm_is_synchronised(
    worlds: Worlds, pairs: Path, tmp_path: Path
) -> None:
    assert worlds.run(
        tmp_path, call="worlds_steps:alone", recipe=toy("dcgan", pairs, sync_batch_norm=True).to_json()
    ) == [0, 0]


def test_another_number_of_processes_goes_on_and_says_what_differs(
    worlds: Worlds, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(worlds, "cyclegan", pairs, tmp_path)
    assert main(["resume", str(run), "-e", "3"]) == 0
    note = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("processes:"))
    assert note.startswith("processes: 2 until here, now 1; a step has 2 images in place of 4")
    assert read_log(run / "log.jsonl")[-1]["images"] == 72


@pytest.mark.parametrize("recipe", ["cyclegan", "densenet-demo"])
def test_two_processes_score_what_one_scores(
    recipe: str, worlds: Worlds, pairs: Path, classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(worlds, recipe, pairs if recipe == "cyclegan" else classes, tmp_path)
    said, silent = worlds.gesso(tmp_path / "out", "evaluate", str(run), "--device", "cpu")
    capsys.readouterr()
    assert main(["evaluate", str(run), "--device", "cpu"]) == 0
    assert said == capsys.readouterr().out
    assert silent == ""


def test_the_tars_of_imagenet_are_prepared_trained_on_and_scored_by_two_processes(
    worlds: Worlds, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = tmp_path / "shards"
    (tmp_path / "tars").mkdir()
    write_imagenet(tmp_path / "tars")
    packing = ["--per-shard", "3", "--processes", "2"]
    assert main(["data", "prepare", "imagenet", str(tmp_path / "tars"), "-o", str(shards), *packing]) == 0
    run = trained(worlds, "densenet-demo", shards, tmp_path, "--data.cache", "off")
    assert "n01440764" in (run / "recipe.json").read_text()
    said, _ = worlds.gesso(tmp_path / "out", "evaluate", str(run), "--device", "cpu")
    assert "split val, 4 images, 2 classes" in said
    capsys.readouterr()
    main(["evaluate", str(run), "--device", "cpu"])
    assert said == capsys.readouterr().out


def test_processes_see_every_image_of_an_epoch_once() -> None:
    """Positions, and so images, are dealt out without a gap or an overlap, though an epoch ends inside a step."""
    epoch, batch, world = 10, 2, 3
    seen: list[int] = []
    for step in range(5):
        for rank in range(world):
            stream = Positions(batch_size=batch, workers=1, rank=rank, world=world)
            seen += [int(p) for p in stream.positions(step * batch * world)]
            stream.close()
    assert seen == list(range(30))
    order = indices(0, 0, np.array(seen), epoch)
    assert all(sorted(order[start : start + epoch]) == list(range(epoch)) for start in range(0, 30, epoch))


class Positions(Stream[Any]):
    """A stream of nothing but its positions."""

    def host_batch(self, position: int) -> Any:
        raise NotImplementedError

    def to_device(self, host: Any) -> Any:
        raise NotImplementedError
