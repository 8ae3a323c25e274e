"""A page that stands alone: one HTML file, its pictures inside."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from amgan_fast.errors import InputError
from amgan_fast.files import write_text


def save_page(path: Path, package: str, template: str, **values: Any) -> None:
    """
    Args:
        package: whose folder ``templates`` has the template; those that all pages share are the package's own.
        template: of Jinja, its file's name; texts are escaped, and a value that is missing is an error.
        values: what it is filled with.

    Raises:
        InputError: the file cannot be written; an old one of its name is as it was.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "templates"), PackageLoader("amgan_fast", "templates")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template).render(values)
    try:
        write_text(path, page)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}), wanted a place for the report") from None


def png_uri(path: Path) -> str:
    """A picture as a page has it in it."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
