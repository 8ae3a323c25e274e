#!/usr/bin/env bash
# accelerate 1.15.0: "accelerate launch --cpu --num_processes 2 script.py" starts the script once, and says nothing of it:
# of a CPU only an MPI, by --mpirun_hostfile, makes several. torchrun starts two, and Accelerator(cpu=True) makes one job
# of them; Accelerator() takes each for a job of its own, on a machine without a GPU.
#
# Output seen:
#   accelerate 1.15.0, torch 2.14.1+cu130
#   accelerate launch --cpu --num_processes 2, cpu=True: 0 of 1
#   torchrun --nproc-per-node 2, cpu=True: 0 of 2, 1 of 2
#   torchrun --nproc-per-node 2, cpu=False: 0 of 1, 0 of 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.14.1" "numpy==2.4.6" "accelerate==1.15.0"
export OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES=
cat >"$folder/script.py" <<'PYTHON'
import sys

from accelerate import Accelerator

accelerator = Accelerator(cpu=sys.argv[1] == "True")
sys.stdout.write(f"{accelerator.process_index} of {accelerator.num_processes}\n")
PYTHON
"$folder/env/bin/python" -c 'import accelerate, torch; print(f"accelerate {accelerate.__version__}, torch {torch.__version__}")'
started() { # by the launcher of these arguments
  "$@" 2>/dev/null | sort | paste -s -d , | sed 's/,/, /g'
}
launched=$(started "$folder/env/bin/accelerate" launch --cpu --num_processes 2 "$folder/script.py" True)
echo "accelerate launch --cpu --num_processes 2, cpu=True: $launched"
joined=$(started "$folder/env/bin/torchrun" --standalone --nproc-per-node 2 "$folder/script.py" True)
echo "torchrun --nproc-per-node 2, cpu=True: $joined"
apart=$(started "$folder/env/bin/torchrun" --standalone --nproc-per-node 2 "$folder/script.py" False)
echo "torchrun --nproc-per-node 2, cpu=False: $apart"
[ "$launched" = "0 of 1" ] && [ "$joined" = "0 of 2, 1 of 2" ] && [ "$apart" = "0 of 1, 0 of 1" ]
