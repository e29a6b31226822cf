"""Commands by name: their list, as help shows it, and the call of the one that is named."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gesso.errors import UsageError, perhaps

Command = Callable[[Sequence[str]], int]
"""Takes the words behind its name and gives the exit code. The first line of its docstring is its line in a list."""


def listed(named: Mapping[str, Callable[..., Any]]) -> str:
    """A line for each: its name, and the first line of its docstring."""
    width = max(map(len, named))
    return "\n".join(f"  {name:<{width}}  {(run.__doc__ or '').strip().splitlines()[0]}" for name, run in named.items())


def call(group: str, commands: Mapping[str, Command], arguments: Sequence[str], example: str) -> int:
    """The command of `group` that the first of `arguments` names, with the others; or the list, where help is asked."""
    if not arguments:
        raise UsageError(f"{group}: name a command; there are {', '.join(commands)}")
    name, *rest = arguments
    if name in ("-h", "--help"):
        print(f"usage: gesso {group} COMMAND\n\n{listed(commands)}\n")
        print(f"gesso {group} COMMAND --help lists the options.\n\nExample: {example}")
        return 0
    if name not in commands:
        raise UsageError(f"{group} {name}: no such command{perhaps(name, commands)}; there are {', '.join(commands)}")
    return commands[name](rest)
