"""A user's segmenter: what it is fed, what becomes of its answer, and what is said about a file that is none."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gesso.data.streets import PALETTE, TRAIN_LABELS
from gesso.errors import UsageError
from gesso.metrics.segmenter import load_segmenter

CPU = torch.device("cpu")
PLAIN = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}


class ByColour(nn.Module):
    """Scores N×19×H×W: the nearer a pixel, in [0, 1], is to a class's palette colour, the higher."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.register_buffer("colours", torch.tensor(PALETTE[list(TRAIN_LABELS)]) / 255)

    def forward(self, photos: Tensor) -> Tensor:
        photos = photos[:, :, :: self.stride, :: self.stride]
        return -(photos[:, None] - self.colours[None, :, :, None, None]).square().sum(2)


class Ids(nn.Module):
    def forward(self, photos: Tensor) -> Tensor:
        return (photos[:, 0] * 18).round().long()


class WithOut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = ByColour()

    def forward(self, photos: Tensor) -> dict[str, Tensor]:
        return {"aux": photos, "out": self.inner(photos)}


class Red(nn.Module):
    """Class 1 where the first channel that is fed equals 7, else 0."""

    def forward(self, photos: Tensor) -> Tensor:
        return ((photos[:, 0] - 7).abs() < 1e-3).long()


class TwoClasses(nn.Module):
    def forward(self, photos: Tensor) -> Tensor:
        return photos[:, :2]


class Narrow(nn.Module):
    def forward(self, photos: Tensor) -> Tensor:
        assert photos.shape[3] == 5, "five columns only"
        return photos


def saved(folder: Path, network: nn.Module, told: object = PLAIN, inside: bool = True) -> Path:
    path = folder / "segmenter.pt"
    extra = {"gesso.json": json.dumps(told)} if inside and told is not None else {}
    torch.jit.save(torch.jit.script(network.eval()), path, _extra_files=extra)
    if not inside:
        path.with_suffix(".json").write_text(json.dumps(told))
    return path


def photo(classes: Tensor) -> Tensor:
    """N×3×H×W in [-1, 1] in the palette's colours."""
    return torch.tensor(PALETTE)[torch.tensor(TRAIN_LABELS)[classes]].movedim(-1, 1) / 127.5 - 1


CLASSES = torch.arange(19).repeat(2, 4, 1)


def test_scores_become_the_classes_that_were_drawn(tmp_path: Path) -> None:
    segment = load_segmenter(saved(tmp_path, ByColour()), CPU)
    found = segment(photo(CLASSES), (4, 19))
    assert found.dtype == torch.uint8 and torch.equal(found.long(), CLASSES)


def test_a_dictionary_of_outputs_gives_its_out(tmp_path: Path) -> None:
    segment = load_segmenter(saved(tmp_path, WithOut()), CPU)
    assert torch.equal(segment(photo(CLASSES), (4, 19)).long(), CLASSES)


def test_ids_are_taken_as_they_are_and_enlarged_by_the_nearest_pixel(tmp_path: Path) -> None:
    segment = load_segmenter(saved(tmp_path, Ids(), {**PLAIN, "size": [1, 19]}), CPU)
    ramp = (torch.arange(19) / 18 * 2 - 1).expand(1, 3, 1, 19)
    assert torch.equal(segment(ramp, (2, 38))[0], torch.arange(19).repeat_interleave(2).repeat(2, 1).to(torch.uint8))


def test_coarse_scores_are_enlarged_to_the_labels(tmp_path: Path) -> None:
    segment = load_segmenter(saved(tmp_path, ByColour(stride=4)), CPU)
    halves = torch.zeros(1, 32, 32, dtype=torch.long)
    halves[..., 16:] = 10
    found = segment(photo(halves), (32, 32))
    assert (found.long() == halves).float().mean() > 0.9 and found.shape == (1, 32, 32)


@pytest.mark.parametrize("inside", [True, False])
def test_photos_are_fed_as_the_file_says(tmp_path: Path, inside: bool) -> None:
    told = {"mean": [10, 20, 30], "std": [5, 4, 2], "scale": 255, "order": "BGR", "size": [3, 6]}
    segment = load_segmenter(saved(tmp_path, Red(), told, inside), CPU)
    colour = torch.tensor([255.0, 0.0, 45.0]).reshape(1, 3, 1, 1).expand(1, 3, 9, 9)  # blue (45 - 10) / 5 is 7
    assert segment(colour / 127.5 - 1, (2, 2)).tolist() == [[[1, 1], [1, 1]]]
    assert segment.feed(colour / 127.5 - 1, (2, 2)).shape == (1, 3, 3, 6)


def test_the_json_beside_comes_before_the_file_itself(tmp_path: Path) -> None:
    path = saved(tmp_path, ByColour(), {"size": [2, 2], **PLAIN})
    path.with_suffix(".json").write_text(json.dumps({"size": [4, 4], **PLAIN}))
    assert load_segmenter(path, CPU).feed.size == (4, 4)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (None, "write segmenter.json beside it"),
        ({"mean": [0, 0, 0]}, "std"),
        ({**PLAIN, "std": [1, 1, 0]}, "those of std not 0"),
        ({**PLAIN, "size": [512]}, "size is a height and a width"),
        ({**PLAIN, "sise": [1, 1]}, "unknown field 'sise'"),
        ([1, 2], "does not say what to feed"),
    ],
)
def test_a_file_that_does_not_say_what_to_feed_it_is_refused(tmp_path: Path, told: object, says: str) -> None:
    path = saved(tmp_path, ByColour(), told)
    with pytest.raises(UsageError, match=says) as caught:
        load_segmenter(path, CPU)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no network", b"PK\x03\x04" + bytes(100)])
@pytest.mark.parametrize("suffix", [".pt", ".onnx"])
def test_a_file_that_is_no_network_is_one_line(tmp_path: Path, content: bytes, suffix: str) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
    path = tmp_path / f"segmenter{suffix}"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="file, or a damaged one") as caught:
        load_segmenter(path, CPU)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 400


def test_a_truncated_file_is_one_line(tmp_path: Path) -> None:
    path = saved(tmp_path, ByColour())
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UsageError, match="damaged"):
        load_segmenter(path, CPU)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.pt: no such file"):
        load_segmenter(tmp_path / "none.pt", CPU)


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    segment = load_segmenter(saved(tmp_path, TwoClasses()), CPU)
    with pytest.raises(UsageError, match="gives 1×2×4×19"):
        segment(photo(CLASSES), (4, 19))


def test_ids_beyond_the_train_ids_are_refused(tmp_path: Path) -> None:
    segment = load_segmenter(saved(tmp_path, Ids(), {**PLAIN, "scale": 2}), CPU)
    with pytest.raises(UsageError, match="gives class 36"):
        segment(torch.ones(1, 3, 2, 2), (2, 2))


def test_a_network_that_fails_on_the_size_says_so(tmp_path: Path) -> None:
    segment = load_segmenter(saved(tmp_path, Narrow()), CPU)
    with pytest.raises(UsageError, match="fails on an input of 1×3×4×19"):
        segment(photo(CLASSES), (4, 19))


def test_onnx_without_its_runtime_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    (tmp_path / "segmenter.onnx").write_bytes(b"any")
    with pytest.raises(UsageError, match=r"gesso\[export\]"):
        load_segmenter(tmp_path / "segmenter.onnx", CPU)


def test_an_onnx_file_gives_the_same_classes(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper = onnx.helper
    # A 1×1 convolution that scores each colour c by 2 x·c - |c|²: the highest is the nearest.
    colours = torch.tensor(PALETTE[list(TRAIN_LABELS)]) / 255
    weight, bias = (2 * colours).reshape(19, 3, 1, 1), -colours.square().sum(1)
    constants = [onnx.numpy_helper.from_array(t.numpy(), name) for t, name in ((weight, "w"), (bias, "b"))]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", channels, "h", "w_"])
        for name, channels in (("photo", 3), ("scores", 19))
    ]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["photo", "w", "b"], ["scores"])], "colours", ends[:1], ends[1:], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"gesso": json.dumps(PLAIN)})
    onnx.save(model, tmp_path / "segmenter.onnx")
    segment = load_segmenter(tmp_path / "segmenter.onnx", CPU)
    assert torch.equal(segment(photo(CLASSES), (4, 19)).long(), CLASSES)
