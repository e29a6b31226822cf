"""Models for others: a folder, or a repository on the hub, that has weights, recipe and a card, and no pickle.

What is published is a checkpoint as `engine/checkpoint.py` reads it, so every command that takes one takes it. Card and
pictures lie beside it and not in its manifest: on the hub people edit the card, and the weights are whole all the same.
"""

from dataclasses import dataclass
from pathlib import Path

from gesso.engine.pulling import at_hand
from gesso.errors import UsageError
from gesso.hub import Pushed, is_hub, parse_name, push
from gesso.publishing.card import write_card
from gesso.publishing.folder import check, files_of, published, put, read_sheet
from gesso.publishing.subject import CARD, SHEET, Asked, load_subject
from gesso.publishing.words import UNLICENSED
from gesso.recipe import BUILTIN_STREETS

__all__ = ["Asked", "Published", "publish"]


@dataclass(frozen=True)
class Published:
    """Where a model was published, the folder or on the hub, and what its author had better know of it."""

    where: Path | Pushed
    warnings: list[str]


ASKED = Asked()


def publish(
    run: Path | str, to: str, asked: Asked = ASKED, *, public: bool = False, replace: bool = False
) -> Published:
    """Publish the model at `run`, a run or a checkpoint, in the folder `to` or as hub:OWNER/NAME[@BRANCH].

    One that is published already is taken as it lies there, with the card as it was edited. All of it appears, or
    nothing. A GessoError says what to mend.

    public   of a new repository on the hub: all may see it, not its owner alone
    replace  a published model that lies in the folder already
    """
    name = parse_name(to) if is_hub(to) else None
    if public and name is None:
        raise UsageError(f"--public: {to} is a folder, seen by whom its permissions say; leave it out")
    if name is None:
        check(Path(to), replace=replace)  # before the work, which may be long
    files, warnings = _files(Path(run), to, asked)
    if name:
        return Published(push(name, files, public=public, message="Publish with gesso"), warnings)
    put(Path(to), files, replace=replace)
    return Published(Path(to), warnings)


def _files(run: Path, to: str, asked: Asked) -> tuple[dict[str, bytes], list[str]]:
    """All that is published, by name, and what is to be said of it."""
    run = at_hand(run)
    if found := published(run):
        if asked != ASKED:
            raise UsageError(f"{run}: published already, so it goes as it is; edit its {CARD}, or publish its run anew")
        return files_of(found), []
    subject = load_subject(run, asked)
    files = subject.files()
    warnings = [] if asked.licence else [f"{UNLICENSED.lower()}; give one with --licence"]
    if subject.sheet:
        files[SHEET] = read_sheet(subject.sheet.path)
        if subject.recipe.data.root != BUILTIN_STREETS:
            warnings.append(
                f"{SHEET} shows pictures of the data set, whose licence must allow that; --no-sheet leaves it out"
            )
    place = to if is_hub(to) else Path(to).resolve().name
    card = write_card(subject, place, {name: len(content) for name, content in files.items()})
    return {**files, CARD: card.encode(errors="backslashreplace")}, warnings
