"""Where a model can be published: not over anything else, not inside a model, and one at a time."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commands import Gesso, contents, refused
from gesso import publishing


@pytest.fixture
def shared(run: Path, tmp_path: Path, gesso: Gesso) -> Path:
    """The toy run of pix2pix, published."""
    assert gesso("publish", run, "--to", tmp_path / "shared").code == 0
    return tmp_path / "shared"


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Path, Path], None]:
    """Lets another publication put a copy of a model somewhere right before the rename of that number."""

    def come(call: int, model: Path, place: Path) -> None:
        rename, calls = Path.rename, iter(range(100))

        def renamed(path: Path, target: Path) -> Any:
            if next(calls) == call:
                shutil.copytree(model, place, dirs_exist_ok=True)
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", renamed)

    return come


@pytest.mark.parametrize("empty", [False, True])
def test_of_two_publications_at_once_one_wins(
    empty: bool,
    run: Path,
    shared: Path,
    tmp_path: Path,
    gesso: Gesso,
    others: Callable[[int, Path, Path], None],
) -> None:
    """In a new folder, and in an empty one."""
    place = tmp_path / "new" / "place"
    place.parent.mkdir()
    if empty:
        place.mkdir()
    others(0, shared, place)
    said = gesso("publish", run, "--to", place, "--name", "Second")
    refused(said, "a published model is there already; --replace")
    assert contents(place) == contents(shared)
    assert list(place.parent.iterdir()) == [place]


def test_who_replaces_replaces_the_one_that_came_meanwhile(
    run: Path, shared: Path, tmp_path: Path, gesso: Gesso, others: Callable[[int, Path, Path], None]
) -> None:
    model = Path(shutil.copytree(shared, tmp_path / "other"))
    others(1, model, shared)  # when the old model has just left its place
    assert gesso("publish", run, "--to", shared, "--replace", "--name", "Second").code == 0
    assert "# Second\n" in (shared / "README.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "runs", "shared"]


@pytest.mark.parametrize("inside", ["", "below"])
@pytest.mark.parametrize("words", [[], ["--replace"]])
def test_the_working_folder_stays_where_it_is(
    inside: str, words: list[str], run: Path, tmp_path: Path, gesso: Gesso, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    (place / inside).mkdir(parents=True)
    monkeypatch.chdir(place / inside)
    said = gesso("publish", run, "--to", ".." if inside else ".", *words)
    refused(said, "is the folder you are in, or has it inside")
    assert Path().samefile(place / inside)


def test_no_model_is_published_inside_another(run: Path, shared: Path, tmp_path: Path, gesso: Gesso) -> None:
    before = contents(tmp_path)
    for place in (run / "x", run / "checkpoints" / "x" / "y", shared / "x"):
        refused(gesso("publish", run, "--to", place), f"--to {place}: lies inside .*, a run or a published model")
    assert contents(tmp_path) == before
    assert not (run / "x").exists()


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("link", "is a link; name the folder itself"),
        ("full", "holds other files, such as notes.txt"),
        ("full/notes.txt", "is no folder"),
        ("full/notes.txt/x", "cannot be written: a file stands where a folder must be"),
        ("mount", "is a mount point; name a folder inside it"),
        ("/", "is a mount point; name a folder inside it"),
        ("forbidden", "cannot be written: permission denied; name another folder"),
        ("n" * 300, "cannot be written: a name is longer than this disk takes"),
    ],
)
def test_a_place_that_cannot_be_is_refused_before_the_work(
    what: str, pattern: str, run: Path, tmp_path: Path, gesso: Gesso, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "link").symlink_to("full")
    (tmp_path / "mount").mkdir()
    ismount = os.path.ismount
    before = contents(tmp_path)

    def refusing(*words: Any) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path / "mount" or ismount(path))
        patch.setattr(publishing, "load_subject", None)  # the work
        if what == "forbidden":
            patch.setattr(os, "mkdir", refusing)
        said = gesso("publish", run, "--to", tmp_path / what, "--replace")
    refused(said, pattern)
    assert contents(tmp_path) == before
