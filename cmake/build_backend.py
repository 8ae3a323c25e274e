"""The build backend: scikit-build-core's, which says in a line what to type where something is missing."""

from functools import wraps

try:
    from scikit_build_core import build
    from scikit_build_core.errors import CMakeNotFoundError
except ModuleNotFoundError as error:
    if error.name != "scikit_build_core":
        raise
    raise SystemExit(
        "amgan_fast: the build takes scikit-build-core, which --no-build-isolation leaves to you: "
        "pip install scikit-build-core cmake ninja"
    ) from None


def in_one_line(hook):
    @wraps(hook)
    def run(*arguments, **options):
        try:
            return hook(*arguments, **options)
        except CMakeNotFoundError as error:
            raise SystemExit(f"amgan_fast: {error}: pip install --upgrade cmake") from None

    return run


globals().update({name: in_one_line(getattr(build, name)) for name in build.__all__})
