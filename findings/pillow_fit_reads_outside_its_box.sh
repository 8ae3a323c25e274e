#!/usr/bin/env bash
# Pillow 12.0.0: ImageOps.fit(image, size) is said to crop and resize. It resizes with box=, and the filter reaches over
# the edge of that box: pixels that are cropped away change the outer rows or columns of the result. Cropping first and
# resizing then does not. Whoever prepares images for a classifier with one of them gets other edges with the other.
#
# Output seen:
#   Pillow 12.0.0
#   fit: painting what is cropped away changes the columns [0, 1, 14, 15] by up to 16 grey levels
#   crop, then resize: by 0
#   fit and crop-then-resize differ in the columns [0, 1, 14, 15]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "pillow==12.0.0" "numpy==2.3.5"
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
import PIL
from PIL import Image, ImageOps

cubic = Image.Resampling.BICUBIC
noise = np.random.default_rng(0).integers(0, 256, (64, 96), dtype=np.uint8)
painted = noise.copy()
painted[:, :16], painted[:, 80:] = 0, 255  # outside the centred square


def fit(pixels):
    return np.asarray(ImageOps.fit(Image.fromarray(pixels), (16, 16), cubic)).astype(int)


def crop_then_resize(pixels):
    return np.asarray(Image.fromarray(pixels).crop((16, 0, 80, 64)).resize((16, 16), cubic)).astype(int)


def columns(first, second):
    return np.flatnonzero((first != second).any(0)).tolist()


print("Pillow", PIL.__version__)
by_fit = np.abs(fit(noise) - fit(painted)).max()
changed = columns(fit(noise), fit(painted))
print(f"fit: painting what is cropped away changes the columns {changed} by up to {by_fit} grey levels")
by_crop = np.abs(crop_then_resize(noise) - crop_then_resize(painted)).max()
print(f"crop, then resize: by {by_crop}")
between = columns(fit(noise), crop_then_resize(noise))
print(f"fit and crop-then-resize differ in the columns {between}")
assert by_fit == 16 and changed == between == [0, 1, 14, 15] and by_crop == 0
PYTHON
