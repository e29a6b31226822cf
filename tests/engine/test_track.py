"""What a run tells W&B and MLflow, over stand-ins that behave as the two services do with ids and parameters."""

import dataclasses
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from accelerate import Accelerator

from conftest import toy
from gesso.engine.track import Trackers, check_trackers
from gesso.errors import UsageError
from gesso.recipe import Recipe


class Service:
    """The runs that a tracking service has, by id: their parameters, and their points as (images, values)."""

    def __init__(self) -> None:
        self.config: dict[str, dict[str, Any]] = {}
        self.points: dict[str, list[tuple[int, dict[str, float]]]] = {}
        self.ended: list[str] = []
        self.axis: dict[str, str] = {}
        self.now = ""

    def begin(self, run_id: str | None) -> str:
        self.now = run_id or f"id{len(self.config)}"
        self.config.setdefault(self.now, {})
        self.points.setdefault(self.now, [])
        return self.now

    def log(self, values: dict[str, float], step: int | None) -> None:
        images = step
        if step is None:  # W&B counts by itself, and has another x axis
            assert self.axis == {"*": "images"}
            images = int(values.pop("images"))
        assert images is not None
        self.points[self.now].append((images, values))

    def define_metric(self, name: str, step_metric: str) -> None:
        self.axis[name] = step_metric

    def end(self) -> None:
        self.ended.append(self.now)


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Service:
    service = Service()

    def init(project: str, name: str, dir: str, id: str | None = None, resume: str | None = None) -> Any:
        assert id is None or resume == "allow"  # an id that is there already would be overwritten
        return SimpleNamespace(
            id=service.begin(id), log=service.log, finish=service.end, define_metric=service.define_metric
        )

    module = ModuleType("wandb")
    module.init = init  # type: ignore[attr-defined]
    module.config = SimpleNamespace(update=lambda values, allow_val_change: service.config[service.now].update(values))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    return service


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Service:
    service = Service()

    def start_run(run_id: str | None, **others: Any) -> Any:
        if run_id and run_id not in service.config:
            raise RuntimeError(f"Run '{run_id}' not found\nand much more")
        return SimpleNamespace(info=SimpleNamespace(run_id=service.begin(run_id)))

    def log_params(values: dict[str, Any]) -> None:
        before = service.config[service.now]
        changed = [key for key in values if key in before and str(before[key]) != str(values[key])]
        if changed:
            raise RuntimeError(f"Changing param values is not allowed: {changed}")
        before.update(values)

    module = ModuleType("mlflow")
    limits = SimpleNamespace(MAX_PARAM_VAL_LENGTH=6000, MAX_PARAMS_TAGS_PER_BATCH=100)
    module.__dict__.update(
        search_experiments=lambda filter_string: [],
        create_experiment=lambda **options: "1",
        start_run=start_run,
        log_params=log_params,
        log_metrics=service.log,
        end_run=service.end,
        utils=SimpleNamespace(validation=limits),
    )
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return service


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Service:
    found: Service = request.getfixturevalue(request.param)
    return found


BOTH = pytest.mark.parametrize(("service", "name"), [("wandb", "wandb"), ("mlflow", "mlflow")], indirect=["service"])


def recipe(*names: str, **changes: Any) -> Recipe:
    made = toy("cyclegan", Path("nowhere"), **changes)
    return dataclasses.replace(made, tracking=dataclasses.replace(made.tracking, trackers=names))


def follow(run: Path, made: Recipe, images: int, *steps: int) -> None:
    """A process that trains from `images` on and logs at `steps`."""
    run.mkdir(exist_ok=True)
    trackers = Trackers(run, made, Accelerator(cpu=True), images)
    for step in steps:
        trackers.scalars({"loss/G_A": float(step)}, step)
    trackers.close()


@BOTH
def test_the_whole_recipe_is_sent(service: Service, name: str, tmp_path: Path) -> None:
    follow(tmp_path, recipe(name, seed=7), 0)
    (config,) = service.config.values()
    expected = {"recipe": "cyclegan", "model": "cyclegan", "seed": 7, "generator.ngf": 4, "data.crop_size": 32}
    assert {key: config[key] for key in expected} == expected
    assert len(config) > 50 and not any(isinstance(value, dict) for value in config.values())


@BOTH
def test_a_resume_goes_on_in_the_same_run(service: Service, name: str, tmp_path: Path) -> None:
    follow(tmp_path, recipe(name), 0, 100, 200)
    follow(tmp_path, recipe(name), 200, 300)
    ((points),) = service.points.values()
    assert [step for step, _ in points] == [100, 200, 300]
    assert service.ended == ["id0", "id0"]


@BOTH
def test_what_is_trained_again_after_a_return_reaches_a_service_too(
    service: Service, name: str, tmp_path: Path
) -> None:
    """W&B drops a point at a step that it has had, so none may be given."""
    trackers = Trackers(tmp_path, recipe(name), Accelerator(cpu=True), 0)
    for images in (100, 200):
        trackers.scalars({"loss/G_A": 1.0}, images)
    trackers.go_back(100)
    trackers.scalars({"loss/G_A": 2.0}, 200)
    trackers.close()
    assert service.points["id0"] == [(100, {"loss/G_A": 1.0}), (200, {"loss/G_A": 1.0}), (200, {"loss/G_A": 2.0})]
    assert (service.axis == {"*": "images"}) == (name == "wandb")


@BOTH
def test_a_run_made_longer_is_no_change_of_parameters(service: Service, name: str, tmp_path: Path) -> None:
    follow(tmp_path, recipe(name), 0, 100)
    follow(tmp_path, recipe(name, epochs=9), 100, 200)
    ((points),) = service.points.values()
    assert [step for step, _ in points] == [100, 200]


@BOTH
def test_what_begins_anew_is_another_run(service: Service, name: str, tmp_path: Path) -> None:
    """In another folder of the same name, or in the same one when it was killed before its first checkpoint."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        follow(tmp_path / folder / "run", recipe(name), 0, 100)
    follow(tmp_path / "two" / "run", recipe(name, seed=3), 0, 100)
    assert list(service.points) == ["id0", "id1", "id2"]
    assert service.config["id2"]["seed"] == 3


def test_each_tracker_has_its_own_id(wandb: Service, mlflow: Service, tmp_path: Path) -> None:
    mlflow.begin(None)
    follow(tmp_path, recipe("wandb", "mlflow"), 0, 100)
    assert json.loads((tmp_path / "trackers.json").read_text()) == {"wandb": "id0", "mlflow": "id1"}


def test_a_tracker_named_later_joins(wandb: Service, mlflow: Service, tmp_path: Path) -> None:
    follow(tmp_path, recipe("wandb"), 0, 100)
    follow(tmp_path, recipe("wandb", "mlflow"), 100, 200)
    assert json.loads((tmp_path / "trackers.json").read_text()) == {"wandb": "id0", "mlflow": "id0"}
    assert mlflow.config["id0"]["recipe"] == "cyclegan"


@pytest.mark.parametrize("damage", [b"", b"\xff", b"[]", b'{"wandb": 3}'])
def test_ids_that_cannot_be_read_begin_another_run(damage: bytes, wandb: Service, tmp_path: Path) -> None:
    follow(tmp_path, recipe("wandb"), 0, 100)
    (tmp_path / "trackers.json").write_bytes(damage)
    follow(tmp_path, recipe("wandb"), 100, 200)
    assert list(wandb.points) == ["id0", "id1"]


def test_a_service_that_refuses_is_one_line(mlflow: Service, tmp_path: Path) -> None:
    (tmp_path / "trackers.json").write_text('{"mlflow": "gone"}')
    with pytest.raises(UsageError) as caught:
        follow(tmp_path, recipe("mlflow"), 100)
    assert "--tracking.trackers mlflow: Run 'gone' not found; " in str(caught.value)
    assert str(tmp_path / "trackers.json") in str(caught.value) and "much more" not in str(caught.value)


def test_without_external_trackers_no_ids_are_written(tmp_path: Path) -> None:
    follow(tmp_path, recipe(), 0, 100)
    assert list(tmp_path.iterdir()) == []


def test_a_tracker_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gesso.engine.track.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--tracking\.trackers wandb: not installed; pip install 'gesso\[wandb\]'"):
        check_trackers(recipe("wandb"))


@BOTH
def test_names_reach_a_service_in_the_characters_that_it_takes(service: Service, name: str, tmp_path: Path) -> None:
    trackers = Trackers(tmp_path, recipe(name), Accelerator(cpu=True), 0)
    trackers.scalars({"loss/D(x)": 0.5, "loss/D(G(z))_1": 0.4, "metric/KID std": 0.1, "metric/AtoB/L1": 0.2}, 8)
    trackers.close()
    ((_, values),) = service.points["id0"]
    assert {"loss/D_x", "loss/D_G_z_1", "metric/KID std", "metric/AtoB/L1"} <= set(values)
    assert not any(set(name) & set("()") for name in values)
