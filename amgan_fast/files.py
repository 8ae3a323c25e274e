"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amgan_fast.errors import InputError, in_one_line, printable

_TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp(\.[^.]*)?")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, of the same suffix; the file written there takes the place of ``path`` at the
    end. Where that fails, ``path`` is as it was and the temporary file is gone; where the process is killed, the next
    one that writes ``path`` removes it."""
    _remove_left_behind(path)
    temporary = _temporary_name(path)
    try:
        yield temporary
        sync(temporary)
        rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """:func:`whole_file` of a folder: a new one beside ``path``, which is not there or empty, and takes its place."""
    _remove_left_behind(path)
    temporary = _temporary_name(path)
    try:
        temporary.mkdir()
        yield temporary
        os.sync()  # once: to wait for one small file after the other takes longer than to write them
        rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str, *, errors: str = "backslashreplace") -> None:
    """In UTF-8; bytes of file names that are none, which Python keeps as surrogates, are escaped, or what ``errors``
    says, as of ``open``."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=errors)


def write_json(path: Path, value: Any) -> None:
    """:func:`to_json`, in a file."""
    write_text(path, to_json(value) + "\n")


def to_json(value: Any) -> str:
    """Standard JSON: texts are :func:`printable`, a number that is infinite or undefined is a ValueError."""
    return json.dumps(_printable_texts(value), indent=2, allow_nan=False)


def read_json(path: Path) -> Any:
    """What :func:`write_json` wrote.

    Raises:
        InputError: the file cannot be read or is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({in_one_line(error)}), wanted what was written there") from None


@contextmanager
def full_disk_is_said(path: Path) -> Iterator[None]:
    """Around the writing of a file of a run.

    Raises:
        InputError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); earlier files are as they were") from error


@contextmanager
def contents_of(path: Path) -> Iterator[None]:
    """Around what takes values from a file that this package wrote.

    Raises:
        InputError: instead of what a missing value, or one that does not fit, leads to.
    """
    try:
        yield
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        what = str(error) if isinstance(error, InputError) else in_one_line(error)
        raise InputError(f"{path} is damaged or of another version ({what}), wanted what this version wrote") from error


def _printable_texts(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {_printable_texts(key): _printable_texts(part) for key, part in value.items()}
    return [_printable_texts(part) for part in value] if isinstance(value, (list, tuple)) else value


def check_writable(name: str, path: Path) -> None:
    """Before the work begins: whether a file can be written there; ``name`` is the option's.

    Raises:
        InputError: it cannot: no such folder, no permission, or something that is no file, as /dev/null.
    """
    folder = path.absolute().parent
    if (path.exists() and not path.is_file()) or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"{name} is {path}, wanted a file in a folder that exists and can be written to")


def check_new_folder(name: str, path: Path) -> None:
    """Before the work begins: whether :func:`whole_folder` can make that; ``name`` is the option's.

    Raises:
        InputError: it cannot, or there is something in it.
    """
    parent = path.absolute().parent
    try:
        empty = not path.exists() or not any(path.iterdir())
    except OSError:  # a file, or a folder that cannot be looked into
        empty = False
    if not empty or not parent.is_dir() or not os.access(parent, os.W_OK):
        wanted = "a new or empty folder, in one that exists and can be written to"
        raise InputError(f"{name} is {path}, wanted {wanted}")


def check_space(path: Path, size: int) -> None:
    """Before the work begins.

    Args:
        path: where a file of ``size`` bytes is to be.

    Raises:
        InputError: the disk has less room.
    """
    free = shutil.disk_usage(path.absolute().parent).free
    if size > free:
        raise InputError(
            f"{path} takes {size / 2**30:,.2f} GiB, wanted more than the {free / 2**30:,.2f} GiB free there"
        )


def rename(path: Path, name: Path) -> None:
    """Give a file another name in its folder, whatever has that name now, also if the power fails right after."""
    os.replace(path, name)
    _sync_folder(name.parent)


def sync(path: Path) -> None:
    """Wait until what was written to a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def file_name(text: str) -> str:
    """``text`` as part of a file's name: what many systems do not have in names is a dot.

    >>> from amgan_fast.files import file_name
    >>> file_name("mine:Model")
    'mine.Model'
    """
    return re.sub(r"[^\w.-]", ".", text)


def is_temporary(path: Path) -> bool:
    """Whether it has a name that :func:`whole_file` gives."""
    return _TEMPORARY.fullmatch(path.name) is not None


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")


def _remove_left_behind(path: Path) -> None:
    """What processes that are dead have left of ``path``."""
    for left in path.parent.glob(f".{glob.escape(path.stem)}.*.tmp{glob.escape(path.suffix)}"):
        found = _TEMPORARY.fullmatch(left.name)
        if not found or _is_another_process(int(found[1])):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _is_another_process(pid: int) -> bool:
    if pid == os.getpid():  # in a container a process has the number that the one before it had
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        pass
    return True


def _sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):  # a file system that cannot do it for folders
            raise
    finally:
        os.close(folder)
