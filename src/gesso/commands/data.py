"""The commands for data sets: synth, check, fetch; `prepare` has a file of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gesso.commands.flags import Flag, Folder, Out
from gesso.commands.prepare import prepare
from gesso.commands.table import Command, call
from gesso.parsing import parse


def synth(arguments: Sequence[str]) -> int:
    """Render the built-in streets into a folder."""

    def form(
        kind: tyro.conf.Positional[Literal["pairs", "unpaired", "classes", "cityscapes"]],
        out: Folder,
        *,
        count: int = 400,
        size: int = 256,
        seed: int = 0,
    ) -> tuple[Any, ...]:
        """Render the built-in streets into a folder: pairs, unpaired folders, class folders or Cityscapes' layout.

        Args:
            kind: Layout of the folder.
            out: Folder to make; it must be empty.
            count: Training images; a tenth as many are made for validation and for test.
            size: Height in pixels.
            seed: Other seeds show other streets.
        """
        return kind, out, count, size, seed

    kind, out, count, size, seed = parse(form, arguments, "data synth", "gesso data synth pairs datasets/streets")
    from gesso.data.synth import KINDS
    from gesso.progress import Bar

    with Bar(f"rendering {kind}") as bar:
        written = KINDS[kind](out, count=count, size=size, seed=seed, progress=bar.update)
    print(f"{out}: {written}")
    return 0


def check(arguments: Sequence[str]) -> int:
    """List every unreadable, empty, truncated or odd file of a data set."""

    def form(folder: Folder, *, max_pixels: int = 100_000_000) -> tuple[Any, ...]:
        """Read every file of a data set and list the unreadable, empty, truncated and odd ones with the reason.

        Args:
            folder: The data set.
            max_pixels: An image with more counts as unreadable.
        """
        return folder, max_pixels

    folder, max_pixels = parse(form, arguments, "data check", "gesso data check datasets/facades")
    from gesso.data.check import check as check_folder
    from gesso.data.check import format_report
    from gesso.progress import Bar

    with Bar("checking") as bar:
        report = check_folder(folder, max_pixels, progress=bar.update)
    print(format_report(report))
    return 2 if report.bad else 0


def fetch(arguments: Sequence[str]) -> int:
    """Download a public data set, or list those that are known."""

    def form(
        name: Annotated[tyro.conf.Positional[str], Flag(metavar="NAME")],
        *,
        out: Out = Path("datasets"),
        mirror: str = "",
    ) -> tuple[Any, ...]:
        """Download and unpack a public data set. A download that was ended goes on with the same command.

        Args:
            name: Of the data set; `list` lists them all, with what they show and whose they are.
            out: Folder in which data sets lie; this one becomes a new folder of its name there.
            mirror: Another server than the set's own, such as https://example.org/gans; the path after it stays.
        """
        return name, out, mirror

    name, out, mirror = parse(form, arguments, "data fetch", "gesso data fetch facades")
    from gesso.data import fetch as sets
    from gesso.progress import Bar

    if name == "list":
        print("\n".join(sets.listing()))
        return 0
    with Bar(f"fetching {name}", unit="MB") as bar:
        path = sets.fetch(name, out, mirror, progress=bar.update, say=bar.say)
    print(f"{path}: {sets.SETS[name].shows} ({sets.SETS[name].origin})")
    return 0


COMMANDS: dict[str, Command] = {"synth": synth, "check": check, "fetch": fetch, "prepare": prepare}


def data(arguments: Sequence[str]) -> int:
    """Make, check, fetch and prepare data sets."""
    return call("data", COMMANDS, arguments, "gesso data check datasets/facades")
