"""A command's arguments to values by tyro, and what tyro finds wrong with them to one line.

tyro draws its errors for a terminal: a box with a title, the message, then arguments that resemble the unknown
ones, rules between. The classes behind them are private to it, so the box is taken apart by its rules. Messages
worded for programmers are worded anew; one that is not known here goes through as it is.
"""

import contextlib
import inspect
import io
import os
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import tyro

from gesso.errors import UsageError

T = TypeVar("T")

CHOICE = r"invalid choice '(?P<value>.*)' for argument '(?P<flag>\S+)'\. Expected one of \((?P<choices>.*?),?\)\."
WORDINGS = (
    (r"Error parsing (?P<flag>\S+): invalid literal for int\(\) .*?: '(?P<value>.*?)'?", "must be a whole number"),
    (r"Error parsing (?P<flag>\S+): could not convert string to float: '(?P<value>.*)'", "must be a number"),
    (r"Error parsing (?P<flag>\S+): Could not find .*: \['(?P<value>.*)'\]", "not what this flag takes"),
    (r"Missing value for argument '(?P<flag>\S+)'\..*(?P<value>)", "needs a value"),
    (CHOICE, "choose one of {choices}"),
)
RULES = set("─-╭╮╰╯ ")
ENTRY = re.compile(r"\w+ {2,}\S")
"""The start of a list of names, each with what is to be said of it."""
INDENT = "  "
PLACES = {"inputs": "picture or folder"}
"""Arguments by place whose names say too little in a message."""
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def parse(form: Callable[..., T], arguments: Sequence[str], name: str, example: str, default: Any = None) -> T:
    """`arguments` as tyro reads them for `form`. UsageError in one line where they do not fit.

    A value that is one of a few names may be written in any case: `--metrics fid` is FID. The help of `gesso name` is
    the start of `form`'s docstring, `example`, and every flag with its default.
    """
    options = {} if default is None else {"default": default}
    about = inspect.cleandoc(form.__doc__ or "").split("\n\nArgs:")[0]
    wanted = f"{entries(about, shutil.get_terminal_size().columns)}\n\nExample: {example}"
    words = list(arguments)
    if any(word == "" and not before.startswith("-") for before, word in zip(["", *words], words, strict=False)):
        # As a path it would be the working folder, which is not what was meant.
        raise UsageError(f"an argument is empty, perhaps a shell variable that is not set; see gesso {name} --help")
    while True:
        errors = io.StringIO()
        try:
            with contextlib.redirect_stderr(errors), _wide(not {"-h", "--help"} & set(words)):
                parsed: T = tyro.cli(form, prog=f"gesso {name}", args=words, description=wanted, **options)
                return parsed
        except SystemExit as stop:
            if not stop.code:
                raise
        if (respelled := _respelled(words, errors.getvalue())) is None:
            raise UsageError(f"{one_line(errors.getvalue(), taken(form))}; see gesso {name} --help")
        words = respelled


def entries(about: str, width: int) -> str:
    """`about` with its lists of entries ("data      two folders") indented and wrapped to `width` columns.

    tyro joins the lines of a paragraph unless they begin with something else than a letter, here a blank; before such
    a line it makes two empty lines of one, so that lists follow what stands before them at once.
    """
    first, *paragraphs = about.split("\n\n")
    return first + "".join(f"\n{_entries(p, width)}" if ENTRY.match(p) else f"\n\n{p}" for p in paragraphs)


def _entries(paragraph: str, width: int) -> str:
    laid = []
    for entry in re.split(r"\n(?=\S)", paragraph):
        name, _, text = entry.partition(" ")
        hanging = len(INDENT) + len(entry) - len(entry.removeprefix(name).lstrip())
        laid += textwrap.wrap(
            " ".join(text.split()),
            max(width, 2 * hanging),
            initial_indent=(INDENT + name).ljust(hanging),
            subsequent_indent=" " * hanging,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(laid)


def _respelled(words: Sequence[str], box: str) -> list[str] | None:
    """`words` with the value that `box` complains of as the choice that differs from it in case alone, if one does."""
    text = " ".join(line.strip() for line in next(iter(_sections(box)), []))
    if not (match := re.fullmatch(CHOICE, text)):
        return None
    value = match["value"]
    choices = [choice for choice in re.findall("'(.*?)'", match["choices"]) if choice.lower() == value.lower()]
    if len(choices) != 1:
        return None
    flags = set(match["flag"].split("/"))
    start = next((i for i, word in enumerate(words) if word.partition("=")[0] in flags), 0)
    for i, word in enumerate(words[start:], start):
        flag, equals, given = word.partition("=")
        if word == value or (flag in flags and given == value):
            return [*words[:i], f"{flag}=" * bool(equals) + choices[0], *words[i + 1 :]]
    return None


def taken(form: Callable[..., Any]) -> str:
    """What a command takes besides flags, for a message: one RUN and one FOLDER. A dataclass has nothing but flags."""
    parameters = [] if isinstance(form, type) else inspect.signature(form).parameters.values()
    names = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    return " and ".join(f"one {PLACES.get(name, name.upper())}" for name in names)


def one_line(box: str, takes: str = "") -> str:
    """What a box of tyro's says, in one line that names the flag. takes: what else than flags the command takes."""
    sections = _sections(box)
    if not sections:
        return " ".join(box.split()) or "cannot read the command line"
    message, *others = sections
    text = " ".join(line.strip() for line in message)
    if text.startswith("Missing from "):
        missing = [_long(line) for line in message if re.match(r" {4}\S", line)]
        unknown = [line.strip() for first, *rest in others if first == "Unrecognized options:" for line in rest]
        return f"missing {', '.join(missing)}" + (f"; not recognised: {', '.join(unknown)}" if unknown else "")
    if text.startswith("Unrecognized options: "):
        return _unrecognised(text.split(": ", 1)[1].split(", "), others, takes)
    for pattern, wording in WORDINGS:
        if match := re.fullmatch(pattern, text):
            mend = wording.format(choices=match.groupdict().get("choices", "").replace("'", ""))
            value = match["value"].replace("', '", " ")
            return f"{_long(match['flag'])} {value}".strip() + f": {mend}"
    return text


def _sections(box: str) -> list[list[str]]:
    """The parts of a box between its rules, without the title; lines keep their indentation within the part."""
    sections: list[list[str]] = [[]]
    for line in COLOURS.sub("", box).splitlines():
        content = line.strip("│").rstrip()
        if line.startswith("╭") or (content and set(content) <= RULES):
            sections.append([])
        elif content:
            sections[-1].append(content)
    return [textwrap.dedent("\n".join(section)).splitlines() for section in sections[1:] if section]


def _unrecognised(words: list[str], others: list[list[str]], takes: str) -> str:
    """The flags among `words` (what follows an unknown one is its value), each with what may have been meant."""
    flags = [word for word in words if word.startswith("-")]
    if not flags:
        return f"{', '.join(words)}: too many arguments; " + (f"give {takes}" if takes else "give flags only")
    meant: dict[str, str] = {}
    for title, *lines in others:
        names = " or ".join(_long(line) for line in lines if re.match(r" {4}-", line))
        if title == "Perhaps you meant:":
            meant = dict.fromkeys((flag for flag in flags if flag.startswith("--")), names)
        elif title.startswith("Arguments similar to "):
            meant[title.removeprefix("Arguments similar to ").removesuffix(":")] = names
    return "; ".join(
        f"{word} is not recognised" + (f", perhaps you meant {meant[word]}" if meant.get(word) else "")
        for word in flags
    )


def _long(line: str) -> str:
    """The long name in '-o PATH, --out PATH' or '-d/--precision'; the words themselves where there is none."""
    match = re.search(r"(?:^|[\s/])(--[\w.-]+)", line)
    return match[1] if match else line.strip()


@contextlib.contextmanager
def _wide(wide: bool) -> Iterator[None]:
    """Inside, tyro takes the terminal for so wide that it breaks no name in two; unless help is to be shown."""
    before = os.environ.get("COLUMNS")
    if wide:
        os.environ["COLUMNS"] = "100000"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("COLUMNS", None)
        else:
            os.environ["COLUMNS"] = before
