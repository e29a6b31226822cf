"""The process of the command `gesso`, or `python -m gesso`: what an interrupt, or SIGTERM, does to it from
its first moments on.

Most of a short command's time goes into imports, and an interrupt must not end in their traceback. Nor would it always
end at all: modules that catch whatever their own imports raise take the KeyboardInterrupt for a missing package, and
extensions of C make other errors of it. So while anything is being imported, an interrupt ends the process on the spot;
nothing is lost by it that a kill would not lose, since all files are written whole or not at all. At other times it is
Python's own KeyboardInterrupt, which `cli` answers, so that what was begun beside a result is taken away. SIGTERM does
the same, with an exit code of its own. This file imports next to nothing, to be ready as soon as Python is, whose own
start (some 30 ms) is out of reach.
"""

import os
import signal
import sys
from types import FrameType

from gesso.launched import launched, tells

FAILED = 128
"""To this a shell adds the number of the signal that ended a process, for its exit code."""


def main() -> int:
    """Run the command line of this process. Gives its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else whoever started this process ignores it
        signal.signal(signal.SIGINT, _interrupted)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and not launched():  # an agent waits for ends on the spot
        signal.signal(signal.SIGTERM, _interrupted)
    try:
        from gesso.cli import main as run

        return run()
    except KeyboardInterrupt as error:  # a second one, while the first was being answered
        return FAILED + (signal.SIGTERM if signal.SIGTERM in error.args else signal.SIGINT)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is _interrupted:
                signal.signal(number, signal.SIG_DFL)  # Python has tracebacks for its own end, too


def _interrupted(number: int, frame: FrameType | None) -> None:
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            if tells():
                os.write(2, b"gesso: terminated\n" if number == signal.SIGTERM else b"gesso: interrupted\n")
            os._exit(FAILED + number)
        frame = frame.f_back
    raise KeyboardInterrupt(number)


if __name__ == "__main__":
    sys.exit(main())
