"""Asks a model server as Triton's own client does, and as Ultralytics' does: clients.py URL MODEL PICTURE.

Prints JSON: what Triton's client was told, and the objects that Ultralytics makes of the server's tensors, as [score, class, box].
"""

import json
import os
import sys
from urllib.parse import urlsplit

os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true", YOLO_CONFIG_DIR=sys.prefix)

import numpy as np
import tritonclient.http as triton

url, name, picture = sys.argv[1:]
client = triton.InferenceServerClient(urlsplit(url).netloc)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(name)
metadata = client.get_model_metadata(name)
pixels = np.array([open(picture, "rb").read()] * 2, dtype=np.object_)
given = triton.InferInput("image", [2], "BYTES")
given.set_data_from_numpy(pixels, binary_data=True)
results = []
for outputs in (None, [triton.InferRequestedOutput("detections")]):
    answer = client.infer(name, [given], outputs=outputs, parameters={"threshold": 0.005})
    results.append([json.loads(text)["detections"] for text in answer.as_numpy("detections")])
refused = ""
try:
    client.infer(name, [given], outputs=[triton.InferRequestedOutput("boxes")])
except triton.InferenceServerException as error:
    refused = error.message()

from ultralytics import YOLO

boxes = YOLO(f"{url}/{name}", task="detect").predict(picture, imgsz=320, conf=5e-3, iou=0.7, verbose=False)[0].boxes
found = [[float(s), int(c), b.tolist()] for s, c, b in zip(boxes.conf, boxes.cls, boxes.xyxy)]
print(json.dumps({"metadata": metadata, "triton": results, "refused": refused, "ultralytics": found}))
