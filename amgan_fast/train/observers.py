"""Observers by name, as the command line has them."""

from __future__ import annotations

from collections.abc import Iterable

from amgan_fast.errors import InputError, found, shown
from amgan_fast.progress import Observer
from amgan_fast.train.csv_log import CsvLog
from amgan_fast.train.wandb_log import WandbLog
from amgan_fast.user_code import names_user_code, user_object, users_errors

OBSERVERS: dict[str, type[Observer]] = {"csv": CsvLog, "wandb": WandbLog}


def observers_named(names: Iterable[str]) -> list[Observer]:
    """An observer for each name: one of :data:`OBSERVERS`, or ``module:Class``, which is called without arguments.

    Raises:
        InputError: there is none of that name, or what is named makes no observer.

    >>> from amgan_fast.train import observers_named
    >>> [type(observer).__name__ for observer in observers_named(["csv", "amgan_fast.train:Observer"])]
    ['CsvLog', 'Observer']
    >>> observers_named(["mlflow"])
    Traceback (most recent call last):
    amgan_fast.errors.InputError: observer is 'mlflow', wanted csv, wandb or module:Class
    """
    return [_observer(name) for name in names]


def _observer(name: str) -> Observer:
    if name in OBSERVERS:
        return OBSERVERS[name]()
    if not names_user_code(name):
        raise InputError(f"observer is {shown(name)}, wanted {', '.join(OBSERVERS)} or module:Class")
    make = user_object("observer", name)
    with users_errors(f"observer {name} cannot be made", "a class that takes no arguments"):
        observer = make()
    if not isinstance(observer, Observer):
        raise InputError(f"observer {name} makes {found(observer)}, wanted an amgan_fast.train.Observer")
    return observer
