"""What docs/migrating.md says of ours is true: its flags are taken with their values, recipes have what it says.

A section of the document begins with `##`. Its tables have their setting, ours and a remark; whatever is code in the
last two and begins with `-` or `gesso` is read by the parser of the command that it belongs to: that of the recipes
which the line `Flags of …` before the table names. Nothing is run.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import gesso.commands.data
import gesso.commands.prepare
import gesso.commands.train
import gesso.commands.use
from gesso.cli import commands
from gesso.parsing import parse
from gesso.recipe import Recipe
from gesso.recipes import RECIPES

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "migrating.md").read_text()
CODE = re.compile(r"`([^`]+)`")
ALREADY = "set already"


@dataclass(frozen=True)
class Row:
    """A line of a table: the kind of table, whose flags it has, and its cells."""

    kind: str
    recipes: tuple[str, ...]
    theirs: str
    ours: str
    remark: str

    @property
    def commands(self) -> list[list[str]]:
        """The code of the last two cells as commands; flags alone are those of each recipe's training."""
        found = []
        for code in CODE.findall(self.ours) + CODE.findall(self.remark):
            if code.startswith("gesso "):
                found.append(shlex.split(code))
            elif code.startswith("-"):
                assert self.recipes, f"whose flag is {code}?"
                found += [["gesso", "train", recipe, *shlex.split(code)] for recipe in self.recipes]
        return found


def sections() -> dict[str, str]:
    """Heading to text, of the sections with tables."""
    parts = re.split(r"^## (.+)$", TEXT, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(text: str) -> Iterator[Row]:
    """The rows of a section's tables."""
    recipes: tuple[str, ...] = ()
    kind = ""
    for line in text.splitlines():
        if line.startswith("#"):
            recipes = ()
        elif line.startswith("Flags of "):
            recipes = tuple(re.findall(r"`gesso train (\S+)`", line))
        elif line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert len(cells) == 3, line
            if cells[1] == "in gesso":
                kind = cells[0]
            elif set(cells[0]) != {"-"}:
                yield Row(kind, recipes, *cells)


SECTIONS = sections()
ROWS = [(name, row) for name, text in SECTIONS.items() for row in rows(text)]
each_section = pytest.mark.parametrize("text", SECTIONS.values(), ids=SECTIONS)


class Parsed(Exception):  # noqa: N818 - it is how a command is left before it does something
    """What a command's parser made of its words."""


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command ends when its words are parsed."""

    def stop(*arguments: Any) -> None:
        raise Parsed(parse(*arguments))

    for module in (gesso.commands.data, gesso.commands.prepare, gesso.commands.train, gesso.commands.use):
        monkeypatch.setattr(module, "parse", stop)


def parsed(command: Sequence[str]) -> Any:
    """The values of a command's flags. GessoError where one is unknown or its value is not taken."""
    with pytest.raises(Parsed) as stopped:
        commands()[command[1]](command[2:])
    values = stopped.value.args[0]
    if command[1] == "train":
        values.recipe.checked()
    return values


def fenced(text: str) -> Iterator[list[str]]:
    """The words of each line that is shown as a command."""
    for block in re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            yield shlex.split(line, comments=True)


@pytest.mark.parametrize("row", [row for _, row in ROWS], ids=[f"{name}: {row.theirs}" for name, row in ROWS])
def test_every_flag_of_ours_is_taken_with_its_value(row: Row, read: None) -> None:
    assert row.theirs
    commands = row.commands
    assert commands or row.ours == "not in gesso"
    for command in commands:
        parsed(command)


@each_section
def test_what_is_set_already_is_what_the_recipe_has(text: str, read: None) -> None:
    for row in rows(text):
        for recipe in row.recipes if row.kind == ALREADY else ():
            flags = [word for code in CODE.findall(row.ours) for word in shlex.split(code)]
            assert flags
            told: Recipe = parsed(["gesso", "train", recipe, *flags]).recipe
            assert told == RECIPES[recipe](), f"{recipe} does not have {' '.join(flags)}"


@each_section
def test_a_command_of_theirs_stands_before_each_of_ours(text: str, read: None) -> None:
    theirs = 0
    for words in fenced(text):
        if words[0] == "gesso":
            assert theirs, f"nothing stands before {shlex.join(words)}"
            parsed(words)
        else:
            theirs += 1
    assert theirs


@each_section
def test_every_flag_of_their_commands_is_in_a_table(text: str) -> None:
    told = {code.split()[0] for row in rows(text) for code in CODE.findall(row.theirs)}
    for words in fenced(text):
        if words[0] == "gesso":
            continue
        script = next(i for i, word in enumerate(words) if word.endswith((".py", ".sh")) and "=" not in word)
        flags = {word.lstrip("-").split("=")[0] for word in words[script:] if re.match(r"--?[a-zA-Z]", word)}
        assert flags <= told


def test_what_launchers_are_shown_to_start_parses(read: None) -> None:
    """test_docs runs the commands that begin with gesso; several machines it has not."""
    shown = fenced((DOCS / "training.md").read_text())
    lines = [words for words in shown if words and words[0] in ("torchrun", "srun")]
    assert {words[0] for words in lines} == {"torchrun", "srun"}
    for words in lines:
        parsed(words[words.index("gesso") :])


def test_tables_are_found_at_all() -> None:
    assert len(SECTIONS) == 7
    assert {row.kind for _, row in ROWS} == {ALREADY, "to be set"}
    assert {name for _, row in ROWS for name in row.recipes} == {
        "cyclegan-gaudi",
        "cyclegan-mindspore",
        "densenet121",
        "dcgan-msls",
        "pix2pix-resnet9",
        "cyclegan",
        "pix2pix",
        "dcgan",
    }
