"""Reference values for decoding and scaling: what OpenCV makes of the same bytes.

    pip install numpy==2.4.6 opencv-python-headless==5.0.0.93 pillow==12.2.0 && python test/models/reference/resize.py > test/models/reference/resize.json
"""

import base64
import hashlib
import io
import json

import cv2
import numpy as np
from PIL import Image

SIZES = [(128, 72, 64, 36), (100, 90, 64, 58), (333, 77, 64, 15), (192, 108, 64, 36), (40, 30, 64, 48), (97, 53, 416, 227), (5, 1, 9, 2), (1, 7, 3, 2)]


def pixels(width, height):
    at = np.arange(width * height * 3, dtype=np.int64)
    return ((at * at * 31) & 255).astype(np.uint8).reshape(height, width, 3)


def scaled(width, height, to_width, to_height):
    result = cv2.resize(pixels(width, height), (to_width, to_height), interpolation=cv2.INTER_LINEAR)
    return {"size": [width, height, to_width, to_height], "sha256": hashlib.sha256(result.tobytes()).hexdigest()}


def cmyk():
    """Four inks in steps."""
    y, x = np.mgrid[0:16, 0:16]
    inks = np.stack([x * 17, y * 17, 255 - x * 17, (x + y) * 4], -1).astype(np.uint8)
    jpeg = io.BytesIO()
    Image.fromarray(inks, "CMYK").save(jpeg, "JPEG", quality=90)
    rgb = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg.getvalue(), np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return {"jpeg": base64.b64encode(jpeg.getvalue()).decode(), "rgb": base64.b64encode(rgb.tobytes()).decode()}


print(json.dumps({"opencv": cv2.__version__, "scaled": [scaled(*size) for size in SIZES], "cmyk": cmyk()}))
