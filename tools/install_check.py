"""What an installation without extras has to do. Run with its python, outside of the checkout:

    cd build && installed/bin/python ../tools/install_check.py

It imports the operations, scores an array of logits by `amgan-fast evaluate`, and is told by `amgan-fast train` what to
install. Fails where something is otherwise.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import amgan_fast
from amgan_fast import metrics, ops


def amgan_fast_command(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("amgan-fast")), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode != status:
        said = ran.stdout + ran.stderr
        raise SystemExit(f"{' '.join(arguments)} ended with {ran.returncode}, wanted {status}: {said}")
    return ran


def main() -> None:
    print(amgan_fast_command("--version").stdout.strip())
    print(amgan_fast_command("info").stdout.strip())
    if not Path(amgan_fast.__file__).is_relative_to(sys.prefix):
        raise SystemExit(f"{amgan_fast.__file__} is not of {sys.prefix}, wanted the installed package")
    logits = np.random.default_rng(0).standard_normal((2000, 10), dtype=np.float32)
    wanted = metrics.scores(logits).inception_score
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "logits.npy"
        np.save(path, logits)
        report = Path(folder) / "page.html"
        printed = amgan_fast_command("evaluate", "--logits", str(path), "--report", str(report), "--json").stdout
        found = json.loads(printed)["generated"]["scores"]["inception_score"]
        if abs(found - wanted) > 1e-9 or "<html" not in report.read_text():
            raise SystemExit(f"evaluate --logits found an Inception Score of {found}, wanted {wanted}, and a page")
        said = amgan_fast_command("train", "--out", str(Path(folder) / "run"), status=2).stderr
    if "wanted pip install 'amgan-fast[train]'" not in said:
        raise SystemExit(f"train without its extra says {said!r}")
    print(f"{len(ops.__all__)} operations; Inception Score {found:.4f}; {said.strip()}")


if __name__ == "__main__":
    main()
