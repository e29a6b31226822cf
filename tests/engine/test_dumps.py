"""Dumps: they hold what a step computes, leave the step as it is, and a comparison names where two runs part."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import gesso
from conftest import toy
from gesso.devices import Choice
from gesso.engine.dumps import Comparison, Dumper, compare_dumps, difference_of
from gesso.engine.launch import Choices, prepare
from gesso.errors import DataError, UsageError
from gesso.models import build_model
from gesso.models.base import Model
from gesso.recipe import DenseNetRecipe, Dumping

FILE = "dumps/step-000001.safetensors"


def densenet(**changes: Any) -> DenseNetRecipe:
    recipe: DenseNetRecipe = toy("densenet121", Path("nowhere"), **changes)
    data = dataclasses.replace(recipe.data, names=("a", "b", "c"))
    network = dataclasses.replace(recipe.network, stem="cifar", dropout=0.2)
    return dataclasses.replace(recipe, data=data, network=network)


def choices(precision: str = "fp32") -> Choices:
    return Choices(
        Choice(torch.device("cpu"), ""), Choice(precision, ""), Choice(True, "to have strides"), Choice(False, "")
    )


def ready(recipe: Any, precision: str = "fp32") -> Model:
    model = build_model(recipe)
    model.initialize(recipe.seed)
    prepare(model, None, choices(precision), train=True)
    return model


def batch(step: int) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(step)
    return {
        "image": torch.rand(4, 3, 32, 32, generator=rng) * 2 - 1,
        "label": torch.randint(3, (4,), generator=rng),
    }


def pair(step: int) -> dict[str, Tensor]:
    images = batch(step)["image"]
    return {"A": images[:1], "B": images[1:2]}


def train(model: Model, run: Path, config: Dumping | None, steps: int = 3, precision: str = "fp32") -> Path:
    run.mkdir(exist_ok=True)
    dumper = Dumper(model, run, config)
    for step in range(steps):
        torch.manual_seed(step)
        with dumper.around(step, 4 * step, choices(precision)):
            of_step = pair(step) if model.recipe.model == "cyclegan" else batch(step)
            model.train_step(of_step, np.random.default_rng(step))
    return run


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as opened:
        return dict(opened.metadata())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the tensors of its step 1, of every layer. Not to be written to."""
    return train(ready(densenet()), tmp_path_factory.mktemp("runs") / "run", Dumping((1,)))


def test_dump_equals_the_step_computed_by_hand(tmp_path: Path) -> None:
    """Two layers, forward and backward written out; the step's own clipping and momentum come after them."""
    recipe = densenet()
    recipe = dataclasses.replace(recipe, network=dataclasses.replace(recipe.network, blocks=(1,), dropout=0.0))
    model = ready(recipe)
    train(model, tmp_path / "run", None, steps=1)  # so that step 1 has a momentum behind it
    net = copy.deepcopy(model.networks["net"]).float()
    dumper = Dumper(model, tmp_path / "run", Dumping((1,)))
    with dumper.around(1, 4, choices()):
        model.train_step(batch(1), np.random.default_rng(1))
    dumped = load_file(tmp_path / "run" / FILE)

    p = dict(net.named_parameters())
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    def norm(x: Tensor, name: str) -> Tensor:
        return F.batch_norm(x, None, None, p[f"{name}.weight"], p[f"{name}.bias"], training=True, eps=1.1e-5)

    layer = "features.denseblock1.denselayer1"
    out: dict[str, Tensor] = {}
    out["features.conv0"] = F.conv2d(((batch(1)["image"] + 1) / 2 - mean) / std, p["features.conv0.weight"], padding=1)
    out[f"{layer}.norm1"] = norm(out["features.conv0"], f"{layer}.norm1")
    out[f"{layer}.conv1"] = F.conv2d(F.relu(out[f"{layer}.norm1"]), p[f"{layer}.conv1.weight"])
    out[f"{layer}.norm2"] = norm(out[f"{layer}.conv1"], f"{layer}.norm2")
    out[f"{layer}.conv2"] = F.conv2d(F.relu(out[f"{layer}.norm2"]), p[f"{layer}.conv2.weight"], padding=1)
    joined = torch.cat([out["features.conv0"], out[f"{layer}.conv2"]], 1)
    out["features.norm5"] = norm(joined, "features.norm5")
    out["classifier"] = F.linear(
        F.relu(out["features.norm5"]).mean((2, 3)), p["classifier.weight"], p["classifier.bias"]
    )
    gradients = torch.autograd.grad(F.cross_entropy(out["classifier"], batch(1)["label"]), list(p.values()))

    expected = {f"net/{name}/activation": value for name, value in out.items()}
    for (name, weight), gradient in zip(p.items(), gradients, strict=True):
        module, _, parameter = name.rpartition(".")
        expected |= {f"net/{module}/weight/{parameter}": weight, f"net/{module}/gradient/{parameter}": gradient}
    assert dumped.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            dumped[name], value.detach(), rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_dumping_does_not_change_the_training(run: Path) -> None:
    plain, dumped = ready(densenet()), ready(densenet())
    train(plain, run.parent / "plain", None)
    train(dumped, run.parent / "dumped", Dumping((0, 1, 2)))
    assert not (run.parent / "plain" / "dumps").exists()
    for one, other in zip(*(m.networks["net"].state_dict().values() for m in (plain, dumped)), strict=True):
        assert torch.equal(one, other)


def test_only_the_asked_steps_are_written(tmp_path: Path) -> None:
    train(ready(densenet()), tmp_path / "run", Dumping((0, 2, 9), ("classifier",)))
    names = [path.name for path in sorted((tmp_path / "run" / "dumps").iterdir())]
    assert names == ["step-000000.safetensors", "step-000002.safetensors"]


def test_file_says_what_it_is(run: Path) -> None:
    about = metadata(run / FILE)
    assert (about["step"], about["images"], about["precision"]) == ("1", "4", "fp32")
    assert about["device"].startswith("cpu (") and about["gesso"] == gesso.__version__
    assert "net/features.conv0" in json.loads(about["layers"])


def test_order_is_that_of_the_step(run: Path) -> None:
    """Forward through the activations, backward through the gradients, forward through the weights."""
    order = json.loads(metadata(run / FILE)["order"])
    kinds = [name.split("/")[2] for name in order]
    assert kinds == sorted(kinds)
    by_kind = {kind: [name for name in order if name.split("/")[2] == kind] for kind in set(kinds)}
    assert by_kind["activation"][0] == "net/features.conv0/activation"
    assert by_kind["activation"][-1] == "net/classifier/activation"
    assert by_kind["gradient"][0].startswith("net/classifier/")
    assert by_kind["gradient"][-1] == "net/features.conv0/gradient/weight"
    assert by_kind["weight"][0] == "net/features.conv0/weight/weight"


def test_named_layers_alone_are_written_and_a_block_with_all_its_parameters(tmp_path: Path) -> None:
    layers = ("features.denseblock1", "net/classifier")
    train(ready(densenet()), tmp_path / "run", Dumping((1,), layers))
    names = set(load_file(tmp_path / "run" / FILE))
    assert {"/".join(name.split("/")[:2]) for name in names} == {"net/features.denseblock1", "net/classifier"}
    assert {
        "net/features.denseblock1/activation",
        "net/features.denseblock1/gradient/denselayer1.conv1.weight",
    } <= names


def test_bf16_stays_bf16(tmp_path: Path) -> None:
    train(ready(densenet(), "bf16"), tmp_path / "run", Dumping((1,), ("features.conv0",)), precision="bf16")
    kinds = {name: tensor.dtype for name, tensor in load_file(tmp_path / "run" / FILE).items()}
    assert kinds == {
        "net/features.conv0/activation": torch.bfloat16,
        "net/features.conv0/gradient/weight": torch.float32,
        "net/features.conv0/weight/weight": torch.float32,
    }


def test_checkpointed_layers_are_written_as_others(run: Path, tmp_path: Path) -> None:
    recipe = densenet()
    recipe = dataclasses.replace(recipe, network=dataclasses.replace(recipe.network, memory_efficient=True))
    train(ready(recipe), tmp_path / "run", Dumping((1,)))
    assert compare_dumps(run, tmp_path / "run", 1e-6).same


@pytest.mark.parametrize(("name", "networks"), [("dcgan", {"G", "D"}), ("cyclegan", {"G_A", "G_B", "D_A", "D_B"})])
def test_every_network_of_other_models_is_written(name: str, networks: set[str], tmp_path: Path) -> None:
    train(ready(toy(name, Path("nowhere"))), tmp_path / "run", Dumping((1,)))
    names = set(load_file(tmp_path / "run" / FILE))
    for network in networks:
        kinds = {name.split("/")[2] for name in names if name.startswith(f"{network}/")}
        assert kinds == {"activation", "gradient", "weight"}


def test_unknown_layer_is_refused_with_those_of_like_name() -> None:
    with pytest.raises(
        UsageError, match=r"--dump\.layers features\.conf0: no such layer; did you mean features\.conv0"
    ):
        Dumper(ready(densenet()), Path("run"), Dumping((0,), ("classifier", "features.conf0")))
    with pytest.raises(UsageError, match=r"--dump\.layers 9: no such layer; layers have names such as features\.conv0"):
        Dumper(ready(densenet()), Path("run"), Dumping((0,), ("9",)))


def test_compiled_networks_are_refused() -> None:
    recipe = densenet(compile="on")
    with pytest.raises(UsageError, match=r"--compile on: .* --compile off"):
        Dumper(build_model(recipe), Path("run"), Dumping((0,)))
    Dumper(build_model(recipe), Path("run"), Dumping())  # nothing is to be dumped


def test_failed_step_leaves_no_file_and_no_hook(tmp_path: Path) -> None:
    model = ready(densenet())
    dumper = Dumper(model, tmp_path, Dumping((0,)))
    with pytest.raises(KeyError), dumper.around(0, 0, choices()):
        model.train_step({"image": batch(0)["image"]}, np.random.default_rng(0))
    assert list(tmp_path.iterdir()) == []
    assert not any(module._forward_hooks for module in model.networks["net"].modules())


def test_two_equal_runs_compare_the_same(run: Path, tmp_path: Path) -> None:
    again = train(ready(densenet()), tmp_path / "again", Dumping((1,)))
    compared = compare_dumps(run, again, 0.0)
    assert compared.same
    count = len(load_file(run / FILE))
    assert sum(int(word) for word in compared.lines[-1].split() if word.isdigit()) == 2 * count  # n of n of each kind


def test_each_side_may_be_a_run_a_folder_or_a_file(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "mine.safetensors"
    other.write_bytes((run / FILE).read_bytes())
    for a, b in ((run, run / "dumps"), (run / "dumps", run / FILE), (run / FILE, other)):
        assert compare_dumps(a, b, 0.0).same


def altered(run: Path, at: Path, change: Any) -> Path:
    """A copy of the dump with its tensors changed; order and all else as they were."""
    tensors, about = load_file(run / FILE), metadata(run / FILE)
    change(tensors)
    about["order"] = json.dumps([name for name in json.loads(about["order"]) if name in tensors])
    (at / FILE).parent.mkdir(parents=True)
    save_file(tensors, at / FILE, about)
    return at


def test_perturbed_layer_is_named_first(run: Path, tmp_path: Path) -> None:
    """A weight changed in one of two trainings: its layer's output is the first that differs, not the input's."""
    model = ready(densenet())
    with torch.no_grad():
        # Every second input of it alone: a batch norm would take a factor on the whole output away again.
        model.networks["net"].get_parameter("features.transition1.conv.weight")[:, ::2].mul_(1.5)
    other = train(model, tmp_path / "other", Dumping((0,)), steps=1)
    plain = train(ready(densenet()), tmp_path / "plain", Dumping((0,)), steps=1)
    compared = compare_dumps(plain, other, 1e-4)
    assert not compared.same
    (first,) = (line for line in compared.lines if line.startswith("first difference"))
    assert "net/features.transition1.conv/activation" in first
    before = json.loads(metadata(plain / "dumps" / "step-000000.safetensors")["order"]).index(
        "net/features.transition1.conv/activation"
    )
    agreeing = compared.lines[-1].split(": ", 1)[1]
    assert agreeing.startswith(f"{before} of ")


def test_difference_says_how_large_and_where(run: Path, tmp_path: Path) -> None:
    name = "net/classifier/weight/bias"

    def change(tensors: dict[str, Tensor]) -> None:
        tensors[name] = tensors[name] + torch.tensor([0.0, 0.25, 0.0])

    a = altered(run, tmp_path / "a", lambda tensors: tensors[name].fill_(1.0))
    b = altered(a, tmp_path / "b", change)
    compared = compare_dumps(a, b, 0.1)
    expected = f"relative {0.25 / 3**0.5:.3g}, largest 0.25 at [1] (1 and 1.25)"
    assert f"first difference: {name}: {expected}" in compared.lines
    assert compare_dumps(a, b, 0.15).same


def line_of(compared: Comparison, start: str) -> str:
    return next(line for line in compared.lines if line.startswith(start))


def test_missing_tensors_and_other_shapes_are_named(run: Path, tmp_path: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        del tensors["net/features.conv0/weight/weight"]
        tensors["net/classifier/activation"] = tensors["net/classifier/activation"][:2]

    compared = compare_dumps(run, altered(run, tmp_path, change), 1e-3)
    assert not compared.same
    assert line_of(compared, "only in a") == "only in a: net/features.conv0/weight/weight"
    assert line_of(compared, "first") == "first difference: net/classifier/activation: shape [4, 3] and [2, 3]"


def test_another_precision_is_named_and_judged_by_its_values(run: Path, tmp_path: Path) -> None:
    name = "net/features.conv0/activation"
    other = altered(run, tmp_path, lambda tensors: tensors.update({name: tensors[name].bfloat16()}))
    compared = compare_dumps(run, other, 1e-2)
    assert compared.same
    assert line_of(compared, "of another precision") == f"of another precision: {name} (float32 and bfloat16)"
    assert not compare_dumps(run, other, 1e-4).same


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ([1.0, NAN], [1.0, NAN], True),
        ([1.0, NAN], [1.0, 2.0], False),
        ([1.0, 2.0], [1.0, NAN], False),
        ([NAN, 1.0], [1.0, NAN], False),
        ([INF, 1.0], [INF, 1.0], True),
        ([INF, 1.0], [-INF, 1.0], False),
        ([INF, 1.0], [INF, 1.5], False),
        ([1.0, 2.0], [INF, 2.0], False),
        ([0.0, 0.0], [0.0, -0.0], True),
        ([0.0, 0.0], [0.0, 1e-30], False),
        ([], [], True),
    ],
)
def test_nan_and_infinity_agree_with_the_same_at_the_same_place(a: list[float], b: list[float], same: bool) -> None:
    assert (difference_of(torch.tensor(a), torch.tensor(b), 0.1) == "") == same


def test_difference_of_a_nan_is_placed() -> None:
    said = difference_of(torch.ones(2, 3), torch.tensor([[1.0, 1.0, 1.5], [1.0, NAN, 1.0]]), 0.1)
    assert "relative inf" in said and "at [1, 1] (1 and nan)" in said
    assert "at [] (2 and 3)" in difference_of(torch.tensor(2.0), torch.tensor(3.0), 0.1)


def test_both_parts_of_complex_numbers_are_compared() -> None:
    a, b = torch.tensor([3 + 4j, 1 + 2j]), torch.tensor([3 + 4j, 1 + 2.5j])
    assert difference_of(a, a.to(torch.complex128), 0.0) == ""
    assert "largest 0.5 at [1, 1] (2 and 2.5)" in difference_of(a, b, 0.05)
    assert difference_of(a, b, 0.1) == ""  # 0.5 of sqrt(9 + 16 + 1 + 4)
    assert "at [0, 1] (4 and 0)" in difference_of(a, a.real, 0.1)


def test_steps_of_one_side_alone_are_named(tmp_path: Path) -> None:
    one = train(ready(densenet()), tmp_path / "one", Dumping((0, 1), ("classifier",)))
    other = train(ready(densenet()), tmp_path / "other", Dumping((1, 2), ("classifier",)))
    compared = compare_dumps(one, other, 0.0)
    assert not compared.same
    assert f"step-000000.safetensors: only in {one}" in compared.lines
    assert f"step-000002.safetensors: only in {other}" in compared.lines
    assert sum(line.startswith("within 0: ") for line in compared.lines) == 1


def test_nothing_to_compare_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    other = train(ready(densenet()), tmp_path / "other", Dumping((2,), ("classifier",)))
    for b, message in (
        (tmp_path / "nowhere", "no such run, folder or file"),
        (tmp_path / "empty", r"no dumps here; .*--dump\.steps"),
        (other, "no step in common: step-000001 and step-000002"),
    ):
        with pytest.raises(UsageError, match=message):
            compare_dumps(run, b, 0.0)
    with pytest.raises(UsageError, match="--tolerance -1: must be 0 or more"):
        compare_dumps(run, run, -1)


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 100, b"\x08\0\0\0\0\0\0\0{}      "], ids=["empty", "garbage", "bare"]
)
def test_damaged_files_are_named_in_one_line(content: bytes, run: Path, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.safetensors: not a .*damaged"):
        compare_dumps(run / FILE, tmp_path / "x.safetensors", 0.0)


def test_truncated_dump_is_named(run: Path, tmp_path: Path) -> None:
    content = (run / FILE).read_bytes()
    (tmp_path / "x.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"x\.safetensors: not a .*damaged"):
        compare_dumps(tmp_path / "x.safetensors", run / FILE, 0.0)
