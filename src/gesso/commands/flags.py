"""The flags that several commands have."""

from pathlib import Path
from typing import Annotated

import tyro

from gesso.recipe import Precision

Flag = tyro.conf.arg
Run = Annotated[tyro.conf.Positional[Path], Flag(metavar="RUN")]
Folder = Annotated[tyro.conf.Positional[Path], Flag(metavar="FOLDER")]
Inputs = Annotated[tyro.conf.Positional[Path], Flag(metavar="INPUTS")]
Sources = Annotated[tyro.conf.Positional[tuple[Path, ...]], Flag(metavar="SOURCES", help_behavior_hint="(required)")]
Out = Annotated[Path, Flag(aliases=("-o",))]
BatchSize = Annotated[int, Flag(aliases=("-b",))]
Arithmetic = Annotated[Precision, Flag(aliases=("-d",))]
DataRoot = Annotated[str, Flag(aliases=("--data.root",))]
"""Under the name that it has in `gesso train`."""
Database = Annotated[
    str,
    Flag(help="postgresql://user@host/name or an SQLite file; without, bench.sqlite3 in the user's data folder."),
]
