"""Compare the ratios of two runs of bench_ops and report what changed; never fails.

    python -m benchmarks.ratio_changes build/bench_ops.previous.json build/bench_ops.json

Times differ from machine to machine and from hour to hour; the ratios to plain PyTorch and to the limit, measured in
turn with ours, differ less. A change is worth a look where it exceeds a quarter.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

NOTABLE = 1.25
# Whether more is better.
RATIOS = {
    "eager/ours": True,
    "compile/ours": True,
    "exp/ours": True,
    "ours/limit": False,
    "ours/limit from memory": False,
    "share of copy": True,
    "share of peak": True,
}


def by_key(path: Path) -> dict[str, dict[str, Any]]:
    return {result["key"]: result["ratios"] for result in json.loads(path.read_text())["results"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    options = parser.parse_args()
    console = Console(width=150)
    if not options.before.exists():
        console.print(f"nothing to compare with: no {options.before}")
        return

    before, after = by_key(options.before), by_key(options.after)
    table = Table(title=f"ratios that changed by more than {NOTABLE - 1:.0%}")
    for column in ("case", "ratio", "before", "after", ""):
        table.add_column(column)
    for key in before.keys() & after.keys():
        for name in before[key].keys() & after[key].keys():
            more_is_better = RATIOS[name]
            old, new = before[key][name], after[key][name]
            if max(old, new) > NOTABLE * min(old, new):
                better = (new > old) == more_is_better
                table.add_row(key, name, f"{old:.2f}", f"{new:.2f}", "better" if better else "[red]worse[/red]")
    if table.row_count:
        console.print(table)
    console.print(
        f"{len(before.keys() & after.keys())} cases in both runs, {table.row_count} notable changes of ratios"
    )


if __name__ == "__main__":
    main()
