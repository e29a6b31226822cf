"""The process of the command `gesso`, or `python -m gesso`: what an interrupt does to it from its first moments on.

Most of a short command's time goes into imports, and an interrupt must not end in their traceback. Nor would it always
end at all: modules that catch whatever their own imports raise take the KeyboardInterrupt for a missing package, and
extensions of C make other errors of it. So while anything is being imported, an interrupt ends the process on the spot;
nothing is lost by it that a kill would not lose, since all files are written whole or not at all. At other times it is
Python's own KeyboardInterrupt, which `cli` answers. This file imports next to nothing, to be ready
as soon as Python is, whose own start (some 30 ms) is out of reach.
"""

import os
import signal
import sys
from types import FrameType

from gesso.launched import tells

EXIT = 130


def main() -> int:
    """Run the command line of this process. Gives its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else whoever started this process ignores it
        signal.signal(signal.SIGINT, _interrupted)
    try:
        from gesso.cli import main as run

        return run()
    except KeyboardInterrupt:  # a second one, while the first was being answered
        return EXIT
    finally:
        if signal.getsignal(signal.SIGINT) is _interrupted:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python has tracebacks for its own end, too


def _interrupted(number: int, frame: FrameType | None) -> None:
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            if tells():
                os.write(2, b"gesso: interrupted\n")
            os._exit(EXIT)
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
