"""Work done ahead of whoever wants it, in the order in which it is asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import NoReturn, TypeVar

T = TypeVar("T")


def called_ahead(
    calls: Iterable[Callable[[], T]], threads: int, begin: Callable[[], object] | None = None
) -> Generator[T, None, None]:
    """What each call returns, in their order: each thread has one, and one is ready.

    An error, of a call or of what ``calls`` is made by, is raised where its result would be: after those before it.

    >>> from functools import partial
    >>> from amgan_fast.ahead import called_ahead
    >>> list(called_ahead((partial(pow, 2, n) for n in range(5)), threads=2))
    [1, 2, 4, 8, 16]

    Args:
        calls: may be endless; the next is taken by the thread that takes the results.
        threads: at least 1.
        begin: called once in each thread.
    """
    pool = ThreadPoolExecutor(threads, initializer=begin)
    begun = map(pool.submit, _and_their_error(calls))
    try:
        waiting = deque(islice(begun, threads + 1))
        while waiting:
            found = waiting.popleft().result()
            waiting.extend(islice(begun, 1))
            yield found
    finally:
        pool.shutdown(cancel_futures=True)


def _and_their_error(calls: Iterable[Callable[[], T]]) -> Iterator[Callable[[], T]]:
    """The calls, and where these end by an error one more that raises it."""
    try:
        yield from calls
    except Exception as error:
        yield partial(_raise, error)


def _raise(error: Exception) -> NoReturn:
    raise error
