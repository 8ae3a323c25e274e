#!/usr/bin/env bash
# ptxas 13.0.88: behind a float64 instruction whose result the next one needs, code for sm_120 has four NOPs; code for
# every other architecture since sm_75 has none, sm_89 with the same 1/64 rate of float64 included. Who counts the
# instructions of such a chain for sm_90 has counted a fifth of those for sm_120.
#
# Output seen:
#   sm_75: 4 DFMA, 0 NOP
#   sm_80: 4 DFMA, 0 NOP
#   sm_86: 4 DFMA, 0 NOP
#   sm_89: 4 DFMA, 0 NOP
#   sm_90: 4 DFMA, 0 NOP
#   sm_100: 4 DFMA, 0 NOP
#   sm_120: 4 DFMA, 12 NOP
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "nvidia-cuda-nvcc==13.0.88" \
  "nvidia-cuda-nvdisasm==13.3.73"
tools=$(dirname "$(find "$folder/env" -name ptxas)")
for architecture in 75 80 86 89 90 100 120; do
  cat >"$folder/chain.ptx" <<PTX
.version 9.0
.target sm_$architecture
.address_size 64
.visible .entry chain(.param .u64 place) {
  .reg .b64 at;
  .reg .f64 x, y;
  ld.param.u64 at, [place];
  cvta.to.global.u64 at, at;
  ld.global.f64 x, [at];
  fma.rn.f64 y, x, x, x;
  fma.rn.f64 y, y, x, x;
  fma.rn.f64 y, y, x, x;
  fma.rn.f64 y, y, x, x;
  st.global.f64 [at], y;
  ret;
}
PTX
  "$tools/ptxas" -arch="sm_$architecture" "$folder/chain.ptx" -o "$folder/chain.cubin"
  "$tools/nvdisasm" -c "$folder/chain.cubin" | sed '/EXIT/q' >"$folder/chain.sass" # behind EXIT every kernel is padded
  dfma=$(grep -c ' DFMA ' "$folder/chain.sass")
  nop=$(grep -c ' NOP ' "$folder/chain.sass" || true)
  echo "sm_$architecture: $dfma DFMA, $nop NOP"
  [ "$dfma" = 4 ]
  [ "$nop" = $([ "$architecture" = 120 ] && echo 12 || echo 0) ]
done
