"""Exports Ultralytics' models of the tasks beyond detection, with random weights, and writes what Ultralytics sees in a picture.

export_tasks.py FOLDER PICTURE [NAME ...]: FOLDER/NAME.onnx, and FOLDER/tasks.json: by name, the threshold and the objects over it.
"""

import json
import os
import sys
from pathlib import Path

os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true", YOLO_CONFIG_DIR=sys.prefix)

import cv2
import numpy as np
import torch
import ultralytics

folder, picture = Path(sys.argv[1]), sys.argv[2]
folder.mkdir(parents=True, exist_ok=True)
SIDE = 640


def wake(model):
    """Normalises each layer by what it gives of the picture: through fresh layers, nothing would come."""
    pixels = cv2.resize(cv2.imread(picture)[..., ::-1], (SIDE, SIDE)).transpose(2, 0, 1)[None].astype(np.float32) / 255
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
            module.train()
    # Two, as a layer may see one value of each.
    with torch.no_grad():
        model(torch.from_numpy(np.concatenate([pixels, pixels[..., ::-1]])))
    model.eval()


def spread(convolution, deviation, bias):
    torch.nn.init.normal_(convolution.weight, std=deviation)
    convolution.bias.data.fill_(bias)


def craft(model):
    """Few sure objects of a fair size: the last layers of a fresh head see none."""
    wake(model)
    head = model.model[-1]
    for prefix in ("", "one2one_"):
        for box in getattr(head, f"{prefix}cv2", None) or []:
            if head.reg_max > 1:
                # Chances of 16 distances to each side of a box.
                torch.nn.init.normal_(box[-1].weight, std=0.05)
                box[-1].bias.data = torch.linspace(0, 2, head.reg_max).repeat(4)
            else:
                spread(box[-1], 0.02, 6.0)
        for classes in getattr(head, f"{prefix}cv3", None) or []:
            spread(classes[-1], 0.008, -6.0)
        if hasattr(head, "proto"):
            for coefficients in getattr(head, f"{prefix}cv4", None) or []:
                spread(coefficients[-1], 0.01, 0.3)
    # Masks in one piece, as those of a trained model: each layer takes the mean of its window.
    for layer in getattr(head, "proto", torch.nn.Module()).modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            layer.weight.data = layer.weight.data.mean((2, 3), keepdim=True).expand_as(layer.weight).contiguous()
    if hasattr(head, "linear"):
        spread(head.linear, 0.15, 0)
    wake(model)


def outline(mask, shape):
    """The border of the mask's largest part, in the picture, as Ultralytics scales it."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    part = (labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)
    [border], _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    points = border.reshape(-1, 2).astype(np.float32)
    return ultralytics.utils.ops.scale_coords(mask.shape, points, shape).tolist()


def objects(result):
    """Each object as JSON."""
    if result.probs is not None:
        height, width = result.orig_shape
        whole = [0, 0, width, height]
        return [{"score": float(result.probs.data[at]), "classId": int(at), "box": whole} for at in result.probs.top5]
    found = []
    boxes = result.obb if result.obb is not None else result.boxes
    for at in range(len(boxes)):
        one = {"score": float(boxes.conf[at]), "classId": int(boxes.cls[at]), "box": boxes.xyxy[at].tolist()}
        if result.masks is not None:
            one["polygon"] = outline(result.masks.data[at].numpy(), result.orig_shape)
        if result.keypoints is not None:
            one["keypoints"] = result.keypoints.data[at].tolist()
        if result.obb is not None:
            # The box around its corners, cut at the picture's edges.
            one["polygon"] = boxes.xyxyxyxy[at].tolist()
            one["box"] = np.clip(one["box"], 0, [*result.orig_shape[::-1]] * 2).tolist()
        found.append(one)
    return sorted(found, key=lambda one: -one["score"])


def between(scores):
    """A threshold in the middle of a wide gap: rounding must not decide which objects are over it."""
    least, most = (8, 16) if len(scores) > 5 else (2, 5)
    gaps = [(scores[at - 1] - scores[at], at) for at in range(least, min(most, len(scores) - 1))]
    _, at = max(gaps)
    return (scores[at - 1] + scores[at]) / 2


def export(name, config, seed=1, imgsz=SIDE, **how):
    torch.manual_seed(seed)
    model = ultralytics.YOLO(config)
    craft(model.model)
    model.model.pt_path = str(folder / f"{name}.pt")
    path = model.export(format="onnx", imgsz=imgsz, **{"simplify": False, **how})
    target = folder / f"{name}.onnx"
    if Path(path) != target:
        Path(path).rename(target)
    served = ultralytics.YOLO(str(target), task=model.task)
    found = objects(served.predict(picture, imgsz=imgsz, conf=1e-3, iou=0.7, verbose=False, device="cpu")[0])
    threshold = between([one["score"] for one in found])
    references[name] = {"threshold": threshold, "objects": [one for one in found if one["score"] > threshold]}


references, failed = {}, {}
EXPORTS = {
    "yolov8n-seg": ("yolov8n-seg.yaml", {"dynamic": True}),
    "yolo11n-seg": ("yolo11n-seg.yaml", {"seed": 2}),
    "yolo11n-seg-nms": ("yolo11n-seg.yaml", {"seed": 2, "nms": True, "conf": 1e-3}),
    "yolo11n-seg-fp16": ("yolo11n-seg.yaml", {"quantize": 16}),
    "yolo26n-seg": ("yolo26n-seg.yaml", {"dynamic": True}),
    "yolo26n-seg-end2end": ("yolo26n-seg.yaml", {"nms": False}),
    "yolov8n-pose": ("yolov8n-pose.yaml", {"dynamic": True}),
    "yolo11n-pose": ("yolo11n-pose.yaml", {}),
    "yolo11n-pose-nms": ("yolo11n-pose.yaml", {"nms": True, "conf": 1e-3}),
    "yolo26n-pose": ("yolo26n-pose.yaml", {"dynamic": True}),
    "yolo26n-pose-end2end": ("yolo26n-pose.yaml", {"nms": False}),
    "yolov8n-obb": ("yolov8n-obb.yaml", {"dynamic": True}),
    "yolo11n-obb": ("yolo11n-obb.yaml", {}),
    "yolo11n-obb-nms": ("yolo11n-obb.yaml", {"nms": True, "conf": 1e-3}),
    "yolo26n-obb": ("yolo26n-obb.yaml", {"dynamic": True}),
    "yolo26n-obb-end2end": ("yolo26n-obb.yaml", {"nms": False}),
    "yolov8n-cls": ("yolov8n-cls.yaml", {"imgsz": 224}),
    "yolo11n-cls": ("yolo11n-cls.yaml", {"imgsz": 224, "dynamic": True}),
    "yolo26n-cls-fp16": ("yolo26n-cls.yaml", {"imgsz": 224, "quantize": 16}),
}
for name, (config, how) in EXPORTS.items():
    if sys.argv[3:] and name not in sys.argv[3:]:
        continue
    try:
        export(name, config, **how)
        print(name, references[name]["threshold"], len(references[name]["objects"]), file=sys.stderr)
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {error}"
        print(name, failed[name], file=sys.stderr)
    (folder / "tasks.json").write_text(json.dumps({"found": references, "failed": failed}))
