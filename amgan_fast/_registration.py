"""When ``torch.ops.amgan_fast`` is there: as soon as both torch and this package are imported, whichever comes first.

Programs load exported networks, say, after ``import amgan_fast`` and nothing else of it. Importing torch for them would
cost whoever wants no torch, the help of a command, more than a second.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing it takes longer than all else here
    from importlib.abc import Loader

_EXTENSION = "amgan_fast._extension"


def register_operations() -> None:
    """Now where torch is imported, else right after it.

    Raises:
        ImportError: torch is here and the compiled module is not made for it. What is found out only after torch's
            import is not its error: it is said by whatever of this package needs the module.
    """
    if "torch" in sys.modules:
        import_module(_EXTENSION)
    else:
        sys.meta_path.insert(0, _AfterTorch())


class _AfterTorch:
    """Finds torch as the other finders do, and has the compiled module loaded once that has run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torch":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            self._run_after(spec.loader)
        return spec

    def _run_after(self, loader: Loader) -> None:
        run = loader.exec_module

        def run_and_register(module: ModuleType) -> None:
            run(module)
            vars(loader).pop("exec_module")
            with suppress(ValueError):  # of two threads one was first
                sys.meta_path.remove(self)
            with suppress(ImportError):
                import_module(_EXTENSION)

        loader.exec_module = run_and_register  # type: ignore[method-assign]
