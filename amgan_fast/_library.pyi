from pathlib import Path

LIBRARY: Path
