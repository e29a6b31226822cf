"""`python -m gesso.bench.worker JOB`: measure the job in a file, and write beside it what came of it.

With several devices it starts this module again in as many processes, and the main one of them writes. A result is a
line of JSON in JOB.result; what went wrong is a line of text in JOB.error, or in JOB.memory where memory ran out.
"""

import sys
from pathlib import Path

from gesso.errors import INTERRUPTED, GessoError, ProcessError, out_of_memory
from gesso.files import write_atomically

MODULE = "gesso.bench.worker"
RESULT, ERROR, MEMORY = ".result", ".error", ".memory"


def main(path: Path) -> int:
    """The exit code."""
    try:
        # Takes seconds, in which one may be interrupted too.
        from gesso.bench.measuring import Job, measure
        from gesso.launching import launch, starts

        job = Job.from_json(path.read_text())
        if starts(job.devices, 0, job.recipe.device):
            return launch([str(path)], job.devices, 0, MODULE)
        result = measure(job)
        if result:
            write_atomically(path.with_suffix(RESULT), result.to_json())
    except ProcessError as error:  # another process says why
        return error.exit_code
    except GessoError as error:
        write_atomically(path.with_suffix(ERROR), str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        write_atomically(path.with_suffix(MEMORY), "out of memory")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
