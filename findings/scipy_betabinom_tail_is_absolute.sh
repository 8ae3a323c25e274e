#!/usr/bin/env bash
# SciPy 1.17.1: the tail of a beta-binomial, betabinom.sf, is good to about 1e-11 and not to some of its digits: a
# probability of 8e-72 comes out as 3e-12, one of 2e-32 as 0, which as a p value is nearly the same error. The tail of a
# binomial, binom.sf, has all its digits, and so has the sum of betabinom.pmf over the tail.
#
# Output seen:
#   scipy 1.17.1
#   betabinom(500, 3, 297).sf(150) = 0.0e+00, sum of pmf = 1.7e-32
#   betabinom(500, 50, 4951).sf(100) = 3.5e-12, sum of pmf = 7.6e-72
#   binom(500, 0.01).sf(60) = 2.5e-45, sum of pmf = 2.5e-45
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "scipy==1.17.1" "numpy==2.3.5"
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
import scipy
from scipy.stats import betabinom, binom

print(f"scipy {scipy.__version__}")
found = []
for name, k in (("betabinom(500, 3, 297)", 150), ("betabinom(500, 50, 4951)", 100), ("binom(500, 0.01)", 60)):
    distribution = eval(name)
    tail, summed = distribution.sf(k), distribution.pmf(np.arange(k + 1, 501)).sum()
    print(f"{name}.sf({k}) = {tail:.1e}, sum of pmf = {summed:.1e}")
    found.append((tail, summed))
(zero, first), (large, second), (right, third) = found
assert zero == 0 and 1e-33 < first < 1e-31
assert large > 1e30 * second > 0
assert abs(right - third) < 1e-10 * third
PYTHON
