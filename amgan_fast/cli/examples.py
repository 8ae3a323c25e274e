"""Commands that the help of each command ends with."""

from __future__ import annotations

EXAMPLES = {
    "train": (
        "amgan-fast train --out runs/first",
        "amgan-fast train --dataset cifar10 --data-dir data --recipe modern",
    ),
    "evaluate": (
        "amgan-fast evaluate --run runs/first --report page.html",
        "amgan-fast evaluate --images samples --classifier classifier.pt --json",
    ),
    "merge": ("amgan-fast merge shard1.safetensors shard2.safetensors --json all.json",),
    "sample": (
        "amgan-fast sample --run runs/first",
        "amgan-fast sample --run runs/first --count 10000 --out samples.npz",
    ),
    "runs": ("amgan-fast runs runs --report runs.html",),
    "report": (
        "amgan-fast report runs/first",
        "amgan-fast report runs/first runs/second --out both.html",
    ),
    "export": ("amgan-fast export --run runs/first --out generator.safetensors",),
    "compare": (
        "amgan-fast compare --models gan,amgan --seeds 3 --jobs 2 --dry-run",
        "amgan-fast compare --models gan,amgan --seeds 3 --jobs 2",
    ),
    "train-classifier": ("amgan-fast train-classifier --dataset mnist --out mnist.pt",),
    "new": ("amgan-fast new mine",),
    "info": ("amgan-fast info --json info.json",),
}


def epilog(name: str) -> str:
    """Of a command's help: a paragraph for each line, since Typer's releases join lines of one."""
    return "\n\n".join(["Examples:", *EXAMPLES[name]])
