#!/usr/bin/env bash
# Pillow 12.0.0: 16-bit grey images (mode I;16 of PNG and TIFF, mode I of PGM) are not scaled to 8 bits by convert(), they
# are clipped: every value above 255 becomes 255, so that an X-ray or a depth map comes out white, without a word. Whoever
# wants its pictures has to divide by 256 first.
#
# Output seen:
#   Pillow 12.0.0
#   PNG I;16 L [0, 255, 255, 255] RGB [0, 255, 255, 255]
#   TIFF I;16 L [0, 255, 255, 255] RGB [0, 255, 255, 255]
#   PPM I L [0, 255, 255, 255] RGB [0, 255, 255, 255]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "pillow==12.0.0" "numpy==2.3.5"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import io

import numpy as np
import PIL
from PIL import Image

values = np.array([[0, 255, 256, 65535]], dtype=np.uint16)
print("Pillow", PIL.__version__)
for format, mode in (("PNG", "I;16"), ("TIFF", "I;16"), ("PPM", "I")):
    file = io.BytesIO()
    Image.fromarray(values).save(file, format)
    image = Image.open(file)
    grey = np.asarray(image.convert("L"))[0].tolist()
    red = np.asarray(image.convert("RGB"))[0, :, 0].tolist()
    print(format, image.mode, "L", grey, "RGB", red)
    assert image.mode == mode and grey == red == [0, 255, 255, 255]
PYTHON
