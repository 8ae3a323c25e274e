"""Checks of this checkout that are neither tests nor benchmarks; run from its root as ``python -m tools.NAME``."""
