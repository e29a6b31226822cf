"""A process that a launcher started: `python -m ending FILE CODE0 CODE1` notes in FILE that it began, and ends with the
exit code of its rank once both have begun; a code of - is that of one that goes on until it is ended."""

import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    file, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    with file.open("a") as began:
        began.write(f"{os.environ['GESSO_RESTARTS']}{rank} ")
    code = sys.argv[2 + rank]
    while code == "-" or len(file.read_text().split()) % 2:
        time.sleep(0.01)
    sys.exit(int(code))
