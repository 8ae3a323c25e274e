#!/usr/bin/env bash
# torchrun of torch 2.13.0: options after the script are not safe from its own parser. An option of the script that is
# the beginning of two of torchrun's own ends the launch before the script starts ("--run" is: --run-path, --run_path).
# A "--" before the script keeps the two apart.
#
# Output seen:
#   torch 2.13.0+cpu
#   torchrun script.py --run X: torchrun: error: ambiguous option: --run could match --run-path, --run_path
#   torchrun -- script.py --run X: the script got --run X
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.3.5"
export OMP_NUM_THREADS=1
printf 'import sys\nprint(*sys.argv[1:])\n' >"$folder/script.py"
"$folder/env/bin/python" -c 'import torch; print("torch", torch.__version__)'
if message=$("$folder/env/bin/torchrun" --nproc-per-node 1 "$folder/script.py" --run X 2>&1); then
  echo "torchrun took --run: $message"
  exit 1
fi
printf 'torchrun script.py --run X: %s\n' "$(tail -n 1 <<<"$message")"
grep -q 'ambiguous option: --run could match' <<<"$message"
got=$("$folder/env/bin/torchrun" --nproc-per-node 1 -- "$folder/script.py" --run X)
echo "torchrun -- script.py --run X: the script got $got"
[ "$got" = "--run X" ]
