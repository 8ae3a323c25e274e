#!/usr/bin/env bash
# nvcc 13.0.88: with y = x * C in a register, fmaf(-y, c, x) is two multiplications and one fma, not one and one. The sign
# of y is moved into the constant, so that x * -C is computed beside the x * C that is needed anyway, although FFMA takes a
# negated operand for nothing. fmaf(y, -c, x), with the sign at the constant, has the same value and is one and one. It is
# the range reduction of every exp: r = x - y ln 2.
#
# Output seen:
#   fmaf(-y, c, x): 2 FMUL, 1 FFMA
#   fmaf(y, -c, x): 1 FMUL, 1 FFMA
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "nvidia-cuda-nvcc==13.0.88" "nvidia-nvvm==13.0.88" \
  "nvidia-cuda-crt==13.0.88" "nvidia-cuda-runtime==13.0.96" "nvidia-cuda-nvdisasm==13.3.73"
tools=$(dirname "$(find "$folder/env" -name ptxas)")
count() { # the form, and the multiplications that are expected of it
  cat >"$folder/form.cu" <<CUDA
__global__ void reduce(float* x_at, float* y_at) {
  const float x = *x_at, y = x * 1.442695f, c = 0.6931472f;
  *x_at = $1;
  *y_at = y;
}
CUDA
  "$tools/nvcc" -O3 -arch=sm_90 -cubin "$folder/form.cu" -o "$folder/form.cubin"
  "$tools/nvdisasm" -c "$folder/form.cubin" >"$folder/form.sass"
  fmul=$(grep -c ' FMUL ' "$folder/form.sass")
  ffma=$(grep -c ' FFMA ' "$folder/form.sass")
  echo "$1: $fmul FMUL, $ffma FFMA"
  [ "$fmul" = "$2" ] && [ "$ffma" = 1 ]
}
count "fmaf(-y, c, x)" 2
count "fmaf(y, -c, x)" 1
