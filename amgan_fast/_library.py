"""Where the compiled operations are: written by CMake, which installs it beside them."""

from pathlib import Path

LIBRARY = Path(__file__).with_name("libamgan_fast.so")
