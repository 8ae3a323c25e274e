"""Calls made ahead by threads: their results come in order, and an error in its place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from amgan_fast.ahead import called_ahead


def test_results_come_in_the_order_of_the_calls_whichever_ends_first():
    last = threading.Event()

    def first() -> str:
        assert last.wait(10)
        return "first"

    def second() -> str:
        last.set()
        return "second"

    assert list(called_ahead([first, second], threads=2)) == ["first", "second"]


@pytest.mark.parametrize("threads", [1, 3])
def test_as_many_calls_are_taken_as_there_are_threads_and_one_and_one_more_with_each_result(threads):
    taken = []

    def calls() -> Iterator[Callable[[], int]]:
        for n in range(20):
            taken.append(n)
            yield partial(int, n)

    results = called_ahead(calls(), threads)
    assert taken == []
    for n in range(5):
        assert next(results) == n
        assert len(taken) == threads + 2 + n
    results.close()
    assert len(taken) == threads + 6


def fail() -> int:
    raise ValueError("this one")


def test_an_error_comes_after_the_results_before_it():
    results = called_ahead([partial(int, 1), partial(int, 2), fail, partial(int, 4)], threads=3)
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(ValueError, match="this one"):
        next(results)


def test_an_error_of_what_makes_the_calls_comes_after_the_results_before_it():
    def calls() -> Iterator[Callable[[], int]]:
        yield partial(int, 1)
        yield partial(int, 2)
        fail()

    results = called_ahead(calls(), threads=3)
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(ValueError, match="this one"):
        next(results)


def test_each_thread_begins_once():
    begun = []
    here = threading.Barrier(2, timeout=10)
    calls = [here.wait] * 4  # of which two have to run at the same time
    assert len(list(called_ahead(calls, 2, begin=lambda: begun.append(threading.get_ident())))) == 4
    assert len(begun) == len(set(begun)) == 2


def test_who_takes_no_more_results_has_no_more_calls_begun():
    begun, go_on, both = [], threading.Event(), threading.Barrier(3, timeout=10)

    def call(n: int) -> int:
        begun.append(n)
        if n:
            both.wait()
            assert go_on.wait(10)
        return n

    results = called_ahead((partial(call, n) for n in range(20)), threads=2)
    assert next(results) == 0
    both.wait()  # two run, and the next one waits for a thread
    threading.Timer(0.1, go_on.set).start()
    results.close()
    assert sorted(begun) == [0, 1, 2]
