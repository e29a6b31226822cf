"""Work done ahead by threads, while its consumer is busy with something else.

Pillow, numpy, zlib and the disk leave the interpreter free while they work, so threads are enough.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(function: Callable[[T], R], items: Iterable[T], workers: int = 0, most: int = 0) -> Iterator[R]:
    """`function` of each of `items`, in their order, worked out by `workers` threads (0: one a core).

    At most `most` results (0: two a thread) are under way or waiting, so that memory stays bounded; `items` is read no
    further than that. What the function raises is raised at its item's turn, and ends it. The threads end with the
    iterator: when it is through, raises, or is closed or forgotten. Context variables, such as the command's flags (see
    `errors.spelling`), are in them what they are for the consumer.
    """
    workers = workers or os.cpu_count() or 1
    most = most or 2 * workers
    pool = ThreadPoolExecutor(workers, thread_name_prefix="gesso-ahead")
    pending: deque[Future[R]] = deque()
    todo = iter(items)
    try:
        while True:
            pending.extend(
                pool.submit(copy_context().run, function, item) for item in islice(todo, most - len(pending))
            )
            if not pending:
                return
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
