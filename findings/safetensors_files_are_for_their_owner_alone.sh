#!/usr/bin/env bash
# safetensors 0.8.0: save_file() makes a file that its owner alone may read (mode 0600), whatever the umask says. The
# bytes of save(), written by open(), have the usual mode (0644 with a umask of 022), and so have the files that torch.save
# and numpy.save leave. A job that puts weights or sums into a folder that others read them from leaves files there
# that they cannot open. Whoever shares files writes save()'s bytes, or calls chmod.
#
# Output seen:
#   safetensors 0.8.0, umask 0o22
#   save_file 0o600, save and open 0o644, numpy.save 0o644
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "safetensors==0.8.0" "numpy==2.3.5"
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import os
import stat
from pathlib import Path

import numpy as np
import safetensors
from safetensors.numpy import save, save_file

os.umask(0o022)
print(f"safetensors {safetensors.__version__}, umask 0o22")
tensors = {"weight": np.zeros(3, np.float32)}
save_file(tensors, "by_save_file.safetensors")
Path("by_open.safetensors").write_bytes(save(tensors))
np.save("by_numpy.npy", tensors["weight"])
names = ("by_save_file.safetensors", "by_open.safetensors", "by_numpy.npy")
assert Path(names[0]).read_bytes() == Path(names[1]).read_bytes()
modes = [stat.S_IMODE(os.stat(name).st_mode) for name in names]
print(f"save_file {oct(modes[0])}, save and open {oct(modes[1])}, numpy.save {oct(modes[2])}")
assert modes == [0o600, 0o644, 0o644]
PYTHON
