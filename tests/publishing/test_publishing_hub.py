"""Publishing to a hub and pulling from it, through the real client and a small hub on loopback."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from published import USE, pictures

from commands import TINY, Gesso, contents, refused
from gesso.engine import checkpoint
from hub_site import TOKEN, Hub

pytest_plugins = ("hub_fixture",)

NAME = "hub:me/facades"


@pytest.fixture
def shared(run: Path, tmp_path: Path, gesso: Gesso) -> dict[str, bytes]:
    """The files of the toy run, published."""
    assert gesso("publish", run, "--to", tmp_path / "shared").code == 0
    return contents(tmp_path / "shared")


def translate(gesso: Gesso, name: str, pairs: Path, out: Path) -> object:
    return gesso("translate", name, pairs / "test", "-o", out, *USE)


def lines(said: object, word: str) -> list[str]:
    return [line for line in said.err if word in line]  # type: ignore[attr-defined]


def test_there_and_back(run: Path, hub: Hub, pairs: Path, tmp_path: Path, gesso: Gesso) -> None:
    said = gesso("publish", run, "--to", NAME, "--licence", "MIT")
    commit = hub.repositories["me/facades"].branches["main"]
    assert said.out == [f"{hub.url}/me/facades, private, commit {commit}"]
    assert translate(gesso, NAME, pairs, tmp_path / "b").code == 0  # type: ignore[attr-defined]
    assert gesso("translate", run, pairs / "test", "-o", tmp_path / "a", *USE).code == 0
    assert pictures(tmp_path / "a") == pictures(tmp_path / "b") != {}
    assert f"gesso translate {NAME} photos/" in hub.repositories["me/facades"].commits[commit]["README.md"].decode()


def test_one_commit_has_all_of_it_and_takes_the_old_away(run: Path, hub: Hub, gesso: Gesso) -> None:
    gesso("publish", run, "--to", NAME, "--networks", "all")
    hub.asked.clear()
    gesso("publish", run, "--to", NAME, "--no-sheet")
    assert len([line for line in hub.asked if "/commit/" in line]) == 1
    repository = hub.repositories["me/facades"]
    assert set(repository.commits[repository.branches["main"]]) == {
        ".gitattributes", "G.safetensors", "README.md", "environment.json", "manifest.json", "recipe.json",
    }  # fmt: skip


def test_large_files_go_by_lfs(run: Path, hub: Hub, gesso: Gesso) -> None:
    gesso("publish", run, "--to", NAME)
    repository = hub.repositories["me/facades"]
    weights = repository.commits[repository.branches["main"]]["G.safetensors"]
    assert weights in hub.stored.values()


def test_the_owner_may_be_left_out(run: Path, hub: Hub, gesso: Gesso) -> None:
    assert gesso("publish", run, "--to", "hub:facades").code == 0
    assert list(hub.repositories) == ["me/facades"]


def test_what_is_pulled_is_pinned_by_its_commit(
    shared: dict[str, bytes], run: Path, hub: Hub, pairs: Path, tmp_path: Path, gesso: Gesso
) -> None:
    first = hub.add("me/facades", shared)
    second = hub.repositories["me/facades"].commit("main", {**shared, "README.md": b"# Other\n"})
    said = translate(gesso, NAME, pairs, tmp_path / "a")
    assert lines(said, "commit") == [f"{NAME}: commit {second}; {NAME}@{second} pins it"]
    said = translate(gesso, f"{NAME}@{first}", pairs, tmp_path / "b")
    assert lines(said, "commit") == [f"{NAME}@{first}: commit {first}"]


def test_a_branch_is_published_and_pulled(run: Path, hub: Hub, pairs: Path, tmp_path: Path, gesso: Gesso) -> None:
    assert gesso("publish", run, "--to", f"{NAME}@v2").code == 0
    repository = hub.repositories["me/facades"]
    assert set(repository.commits[repository.branches["main"]]) == {".gitattributes"}
    assert translate(gesso, f"{NAME}@v2", pairs, tmp_path / "out").code == 0  # type: ignore[attr-defined]
    refused(gesso("publish", run, "--to", f"{NAME}@{repository.branches['v2']}"), "a commit is never changed")


def test_only_data_is_pulled(shared: dict[str, bytes], hub: Hub, pairs: Path, tmp_path: Path, gesso: Gesso) -> None:
    hub.add("me/facades", {**shared, "training.pt": b"pickle", "code.py": b"print()", "more/recipe.json": b"{}"})
    translate(gesso, NAME, pairs, tmp_path / "out")
    (snapshot,) = (tmp_path / "hub-cache").glob("models--*/snapshots/*")
    assert {path.name for path in snapshot.iterdir()} == set(shared)
    assert not [line for line in hub.asked if "resolve" in line and line.endswith((".pt", ".py", "more/recipe.json"))]


def test_without_a_network_what_was_pulled_is_used(
    shared: dict[str, bytes], hub: Hub, pairs: Path, tmp_path: Path, gesso: Gesso, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.add("me/facades", shared)
    translate(gesso, NAME, pairs, tmp_path / "a")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", nowhere)
    said = translate(gesso, NAME, pairs, tmp_path / "b")
    assert lines(said, "reached") == [
        f"{NAME}: the hub cannot be reached (Connection refused); taking commit {commit}, which was pulled before"
    ]
    assert pictures(tmp_path / "a") == pictures(tmp_path / "b") != {}
    refused(
        translate(gesso, "hub:me/other", pairs, tmp_path / "c"),  # type: ignore[arg-type]
        r"hub:me/other: the hub cannot be reached \(Connection refused\), and it was not pulled before",
    )
    refused(gesso("publish", tmp_path / "runs" / "toy", "--to", NAME), "Connection refused; give the same command")


def test_a_hub_that_does_not_work_is_as_none(
    shared: dict[str, bytes], hub: Hub, pairs: Path, tmp_path: Path, gesso: Gesso
) -> None:
    hub.add("me/facades", shared)
    translate(gesso, NAME, pairs, tmp_path / "a")
    hub.answers = {"GET /api/models": 503}
    assert lines(translate(gesso, NAME, pairs, tmp_path / "b"), r"(it answers 503); taking commit")


@pytest.mark.parametrize(("status", "pattern"), [(403, "your token may not do this there"), (500, "500|reached")])
def test_a_download_that_fails_is_told_in_one_line(
    status: int, pattern: str, shared: dict[str, bytes], hub: Hub, pairs: Path, tmp_path: Path, gesso: Gesso
) -> None:
    hub.add("me/facades", shared)
    hub.answers = {"GET /me/facades/resolve": status}
    refused(translate(gesso, NAME, pairs, tmp_path / "out"), f"{NAME}: could not be pulled: .*({pattern})")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("files", "pattern"),
    [
        ({"manifest.json": None}, "not a model that gesso published, it has no manifest.json$"),
        ({"manifest.json": None, "recipe.json": None, "G.safetensors": None}, "no NAME.safetensors$"),
        ({"G.safetensors": b"other"}, "damaged, G.safetensors is not what was written"),
        ({"recipe.json": b"{}"}, "not a recipe that this gesso can read"),
        ({"manifest.json": b"{}"}, "damaged, manifest.json is not what was written"),
    ],
)
def test_what_is_no_published_model_is_refused(
    files: dict[str, bytes | None],
    pattern: str,
    shared: dict[str, bytes],
    hub: Hub,
    pairs: Path,
    tmp_path: Path,
    gesso: Gesso,
) -> None:
    hub.add("me/facades", {name: content for name, content in {**shared, **files}.items() if content is not None})
    said = translate(gesso, NAME, pairs, tmp_path / "out")
    refused(said._replace(err=said.err[-1:]), pattern)  # type: ignore[attr-defined]
    assert not (tmp_path / "out").exists()


def with_manifest(shared: dict[str, bytes], **files: str) -> dict[str, bytes]:
    """`shared` with a manifest that is whole, and names `files` besides."""
    manifest = json.loads(shared["manifest.json"])
    del manifest["digest"]
    manifest["files"] |= files
    return {**shared, "manifest.json": checkpoint._manifest_text(manifest).encode()}


def test_a_manifest_that_names_files_elsewhere_is_refused(
    shared: dict[str, bytes], hub: Hub, pairs: Path, tmp_path: Path, gesso: Gesso
) -> None:
    hub.add("me/facades", with_manifest(shared, **{"../x": "12"}))
    said = translate(gesso, NAME, pairs, tmp_path / "out")
    refused(said._replace(err=said.err[-1:]), "names a file outside the checkpoint")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("part", "field", "place"),
    [("evaluation", "lpips", "/etc/passwd"), ("data", "root", "../x"), ("data", "cache_dir", "cache")],
)
def test_a_recipe_that_names_files_of_this_machine_is_refused(
    part: str, field: str, place: str, shared: dict[str, bytes], hub: Hub, pairs: Path, tmp_path: Path, gesso: Gesso
) -> None:
    recipe = json.loads(shared["recipe.json"])
    recipe[part][field] = place
    hub.add("me/facades", {**shared, "recipe.json": json.dumps(recipe).encode()})
    said = translate(gesso, NAME, pairs, tmp_path / "out")
    flag = f"--{part}.{field.replace('_', '-')} {place}"
    refused(said._replace(err=said.err[-1:]), f"names a place on another machine: {flag}")  # type: ignore[attr-defined]


def test_a_model_that_is_too_large_is_not_pulled(
    shared: dict[str, bytes], hub: Hub, pairs: Path, tmp_path: Path, gesso: Gesso
) -> None:
    hub.add("me/facades", shared)
    hub.sizes = {"G.safetensors": 11 * 2**30}
    refused(translate(gesso, NAME, pairs, tmp_path / "out"), "files of 11.8 GB, more than 10 GB")  # type: ignore[arg-type]
    assert not [line for line in hub.asked if "resolve" in line]


@pytest.mark.parametrize(
    "name", ["hub:", "hub:a/b/c", "hub:/x", "hub:me/x@", "hub:me/x@../y", "hub:-x", "hub:me/x--y", "hub:me/x.git"]
)
def test_names_that_cannot_be(name: str, run: Path, hub: Hub, pairs: Path, tmp_path: Path, gesso: Gesso) -> None:
    refused(translate(gesso, name, pairs, tmp_path / "out"), "not a name on the hub; write hub:OWNER/NAME")  # type: ignore[arg-type]
    refused(gesso("publish", run, "--to", name), "not a name on the hub; write hub:OWNER/NAME")
    assert hub.asked == []


def test_what_is_not_there(hub: Hub, shared: dict[str, bytes], pairs: Path, tmp_path: Path, gesso: Gesso) -> None:
    refused(
        translate(gesso, NAME, pairs, tmp_path / "out"), "no such model on the hub, or it is private and your login"
    )  # type: ignore[arg-type]
    hub.add("me/facades", shared)
    refused(translate(gesso, f"{NAME}@v9", pairs, tmp_path / "out"), "has no revision v9; name a branch")  # type: ignore[arg-type]


def test_who_is_not_logged_in_is_told(
    hub: Hub,
    shared: dict[str, bytes],
    run: Path,
    pairs: Path,
    tmp_path: Path,
    gesso: Gesso,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.add("me/facades", shared, private=True)
    monkeypatch.delenv("HF_TOKEN")
    refused(translate(gesso, NAME, pairs, tmp_path / "out"), "private and nobody is logged in: run hf auth login")  # type: ignore[arg-type]
    hub.asked.clear()
    refused(gesso("publish", run, "--to", NAME), "nobody is logged in to the hub; run hf auth login, or set HF_TOKEN")
    assert hub.asked == []


@pytest.mark.parametrize(
    ("path", "status", "pattern"),
    [
        ("POST /api/repos/create", 401, "your token is not valid"),
        ("POST /api/repos/create", 403, "your token may not do this there"),
        ("POST /api/models/me/facades/commit", 412, "changed by somebody else at the same time"),
        ("POST /api/models/me/facades/commit", 500, "the hub answers 500"),
        ("POST /api/models/me/facades/preupload", 403, "your token may not do this there"),
        ("PUT /lfs", 403, "your token may not do this there"),
    ],
)
def test_what_a_hub_refuses_is_told_in_one_line(
    path: str, status: int, pattern: str, hub: Hub, run: Path, gesso: Gesso
) -> None:
    hub.answers = {path: status}
    said = gesso("publish", run, "--to", NAME, "--licence", "MIT", "--no-sheet")
    refused(said, f"{NAME}: could not be published: .*({pattern})")
    assert TOKEN not in "".join(said.err)


@pytest.mark.parametrize("name", [NAME, f"{NAME}@v2"])
def test_a_public_repository_wants_that_said(
    name: str, hub: Hub, shared: dict[str, bytes], run: Path, gesso: Gesso
) -> None:
    hub.add("me/facades", shared)
    before = dict(hub.repositories["me/facades"].branches)
    refused(gesso("publish", run, "--to", name), "all can see this repository; say --public")
    assert hub.repositories["me/facades"].branches == before
    assert ", public, commit " in gesso("publish", run, "--to", name, "--public").out[0]


def test_after_a_hub_that_failed_the_same_command_publishes(hub: Hub, run: Path, gesso: Gesso) -> None:
    hub.answers = {"POST /api/models/me/facades/commit": 500}
    assert gesso("publish", run, "--to", NAME).code == 2
    repository = hub.repositories["me/facades"]
    assert set(repository.commits[repository.branches["main"]]) == {".gitattributes"}  # made, and nothing half in it
    hub.answers = {}
    assert gesso("publish", run, "--to", NAME).code == 0


def test_a_repository_of_something_else_is_left_alone(hub: Hub, run: Path, gesso: Gesso) -> None:
    hub.add("me/facades", {"pytorch_model.bin": b"other"}, private=True)
    refused(gesso("publish", run, "--to", NAME), r"holds other files \(pytorch_model.bin\)")
    assert len(hub.repositories["me/facades"].commits) == 1


def test_a_folder_goes_to_the_hub_as_it_was_edited(
    shared: dict[str, bytes], hub: Hub, tmp_path: Path, gesso: Gesso
) -> None:
    (tmp_path / "shared" / "README.md").write_text("# Mine\n")
    assert gesso("publish", tmp_path / "shared", "--to", NAME).code == 0
    repository = hub.repositories["me/facades"]
    assert repository.commits[repository.branches["main"]]["README.md"] == b"# Mine\n"


def test_every_command_that_takes_a_run_takes_a_model_on_the_hub(
    shared: dict[str, bytes], hub: Hub, pairs: Path, tmp_path: Path, gesso: Gesso
) -> None:
    hub.add("me/facades", shared)
    train = ["--data.root", pairs, *TINY, "--runs", tmp_path / "new"]
    small = ["--generator.ngf", 2, "--distill.discriminator", "new", "-e", 0.25, "--device", "cpu", "--compile", "off"]
    taught = ["--data.root", pairs, "--runs", tmp_path / "new", *small]
    for words in (
        ["evaluate", NAME, "--data-root", pairs, "--device", "cpu"],
        ["compare-models", tmp_path / "shared", NAME, "--data-root", pairs, *USE],
        ["publish", NAME, "--to", tmp_path / "copy"],  # out of the client's cache, where all files are links
        ["train", "pix2pix", *train, "--name", "next", "--start-from", NAME],
        ["train", "pix2pix-distill", *taught, "--name", "student", "--teacher", NAME],
    ):
        said = gesso(*words)
        assert said.code == 0, said
    refused(gesso("resume", NAME), f"a model on the hub, not a run to go on with.*--start-from {NAME}")
    assert f'"{NAME}"' in (tmp_path / "new" / "next" / "recipe.json").read_text()


def test_an_export_is_called_as_on_the_hub(
    shared: dict[str, bytes], hub: Hub, tmp_path: Path, gesso: Gesso, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("me/facades", shared)
    monkeypatch.chdir(tmp_path)
    assert gesso("export", f"{NAME}@main", "--format", "junyanz").out == ["facades/latest_net_G.pth"]


def test_the_environment_names_the_hub(run: Path, hub: Hub, pairs: Path, tmp_path: Path) -> None:
    """In processes of their own, as users run them."""
    here = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}

    def gesso(*words: object) -> str:
        command = [sys.executable, "-m", "gesso", *map(str, words)]
        return subprocess.run(command, env=here, capture_output=True, text=True, timeout=200, check=True).stderr

    gesso("publish", run, "--to", NAME, "--licence", "MIT", "--no-sheet")
    told = gesso("translate", NAME, pairs / "test", "-o", tmp_path / "out", *USE)
    assert len(told.splitlines()) == 2, told  # the commit, and what is translated how
    assert len(pictures(tmp_path / "out")) == 4
