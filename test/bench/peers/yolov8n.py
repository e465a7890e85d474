"""YOLOv8n in PyTorch by ultralytics (AGPL-3.0): tests and benchmarks measure against it, nothing of it is shipped.

The weights are those of an ONNX file that test/bench/yolov8n.ts wrote, put into ultralytics' own model of the
architecture; pictures go through ultralytics' own pre- and post-processing.

yolov8n.py reference WEIGHTS EXPORT RESULT PICTURE... writes to RESULT what it sees in each picture, as JSON, and
exports the model to EXPORT (*.onnx);
yolov8n.py serve WEIGHTS PORT answers POST /predict as the usual FastAPI server does, on PEER_DEVICE (cpu), with the
model in the form PEER_FORMAT: pytorch, or what ultralytics exports as onnx or openvino. Detections under the request's
threshold are left out, or under PEER_THRESHOLD where it names none.
"""

import ast
import base64
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ["YOLO_OFFLINE"] = "true"
os.environ["YOLO_CONFIG_DIR"] = sys.prefix

import cv2
import numpy as np
import onnx
import torch
from onnx import numpy_helper
from ultralytics import YOLO
from ultralytics.nn.modules import SPPF

SIDE, THRESHOLD, IOU = 640, 0.1, 0.7
DEVICE, FORMAT = os.environ.get("PEER_DEVICE", "cpu"), os.environ.get("PEER_FORMAT", "pytorch")


def learned(module):
    return [one for one in module.modules() if isinstance(one, torch.nn.Conv2d)]


def convolutions(model):
    """The learned convolutions: those before the head in the order they run, then for each level boxes and scores."""
    head = model.model[-1]
    branches = [branch for level in zip(head.cv2, head.cv3) for branch in level]
    found = []
    hooks = [
        module.register_forward_hook(lambda module, *_: found.append(module))
        for layer in model.model[:-1]
        for module in learned(layer)
    ]
    with torch.no_grad():
        model(torch.zeros(1, 3, SIDE, SIDE))
    for hook in hooks:
        hook.remove()
    return found + [module for branch in branches for module in learned(branch)]


def load(path):
    """ultralytics' YOLOv8n, batch normalisation folded, with the weights of the ONNX file."""
    file = onnx.load(path)
    weights = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in file.graph.initializer}
    nodes = [node for node in file.graph.node if node.op_type == "Conv"]
    yolo = YOLO("yolov8n.yaml", task="detect")
    model = yolo.model.eval().fuse(verbose=False)
    # As in the published yolov8n.pt; versions from 8.4 on leave it out of models made anew.
    next(layer for layer in model.model if isinstance(layer, SPPF)).cv1.act = torch.nn.SiLU()
    layers = convolutions(model)
    if len(layers) != len(nodes):
        raise ValueError(f"{path} has {len(nodes)} convolutions, YOLOv8n {len(layers)}")
    for layer, node in zip(layers, nodes):
        _, weight, bias = node.input
        if layer.weight.shape != weights[weight].shape:
            raise ValueError(f"{node.name} is {tuple(weights[weight].shape)}, YOLOv8n has {tuple(layer.weight.shape)}")
        layer.weight.data, layer.bias.data = weights[weight], weights[bias]
    properties = {one.key: one.value for one in file.metadata_props}
    model.names = ast.literal_eval(properties["names"])
    return yolo


def detect(yolo, pictures, threshold=THRESHOLD):
    """Detections of each picture (BGR array or path), in its pixels."""
    results = yolo.predict(pictures, imgsz=SIDE, conf=threshold, iou=IOU, device=DEVICE, half=DEVICE != "cpu", verbose=False)
    return [
        [
            {
                "class_id": int(class_id),
                "class_name": result.names[int(class_id)],
                "confidence": float(confidence),
                "bbox": [float(side) for side in box],
            }
            for box, confidence, class_id in zip(result.boxes.xyxy, result.boxes.conf, result.boxes.cls)
        ]
        for result in results
    ]


def reference(weights, export, result, *pictures):
    yolo = load(weights)
    seen = {
        Path(path).name: [
            {
                "class_id": one["class_id"],
                "confidence": round(one["confidence"], 6),
                "bbox": [round(side, 3) for side in one["bbox"]],
            }
            for one in detect(yolo, path)[0]
        ]
        for path in pictures
    }
    yolo.model.pt_path = export
    yolo.export(format="onnx", imgsz=SIDE, dynamic=True, simplify=False)
    versions = {name: version(name) for name in ("ultralytics", "torch", "opencv-python")}
    reference = {"versions": versions, "threshold": THRESHOLD, "iou": IOU, "pictures": seen}
    Path(result).write_text(json.dumps(reference))


def in_form(yolo, weights):
    """The model as ultralytics exports it, or as it is."""
    if FORMAT == "pytorch":
        return yolo
    yolo.model.pt_path = str(Path(weights).with_name("yolov8n-peer.pt"))
    # onnxslim, which it would want to install, makes this model no faster.
    options = {"simplify": False} if FORMAT == "onnx" else {}
    exported = yolo.export(format=FORMAT, imgsz=SIDE, dynamic=True, **options)
    return YOLO(exported, task="detect")


def serve(weights, port):
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Frame(BaseModel):
        frame_number: int
        frame_data: str

    class Batch(BaseModel):
        stream_id: str
        frames: list[Frame]
        threshold: float = float(os.environ.get("PEER_THRESHOLD", THRESHOLD))

    yolo = in_form(load(weights), weights)
    app = FastAPI()

    @app.get("/health")
    async def health():
        return {"status": "healthy", "model": "yolov8n", "device": DEVICE}

    @app.post("/predict")
    async def predict(batch: Batch):
        jpegs = [np.frombuffer(base64.b64decode(frame.frame_data), np.uint8) for frame in batch.frames]
        pictures = [cv2.imdecode(jpeg, cv2.IMREAD_COLOR) for jpeg in jpegs]
        results = [
            {"frame_number": frame.frame_number, "width": shape[1], "height": shape[0], "detections": detections}
            for frame, shape, detections in zip(
                batch.frames, [picture.shape for picture in pictures], detect(yolo, pictures, batch.threshold)
            )
        ]
        return {"stream_id": batch.stream_id, "model": "yolov8n", "results": results}

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    {"reference": reference, "serve": serve}[sys.argv[1]](*sys.argv[2:])
