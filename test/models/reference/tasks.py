"""Reference values for the heads beyond detection: made outputs, and what Ultralytics' own functions see in them.

    pip install ultralytics==8.4.190 && python test/models/reference/tasks.py > test/models/reference/tasks.json
"""

import base64
import json

import cv2
import numpy as np
import torch
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.ops import process_mask, xywhr2xyxyxyxy

WIDTH, HEIGHT, CLASSES, ANCHORS, MASKS, KEYPOINTS = 64, 32, 3, 42, 4, 2
THRESHOLD, IOU = 0.25, 0.5
rng = np.random.default_rng(29)


def made(extra):
    """`[2, 4 + CLASSES + extra, ANCHORS]`: several boxes about each of a few objects, so that suppression has work to do."""
    pictures = []
    for _ in range(2):
        objects = rng.uniform((16, 12, 20, 12), (WIDTH - 16, HEIGHT - 10, 40, 24), (4, 4))
        boxes = objects[rng.integers(0, 4, ANCHORS)] + rng.normal(0, 1.5, (ANCHORS, 4))
        scores = 1 / (1 + np.exp(-rng.normal(-2, 2, (ANCHORS, CLASSES))))
        pictures.append(np.concatenate([boxes, scores, extra(ANCHORS)], 1).T)
    return np.stack(pictures).astype(np.float32)


def kept(outputs, **how):
    return non_max_suppression(torch.from_numpy(outputs), THRESHOLD, IOU, nc=CLASSES, **how)


def tensor(name, values):
    data = np.ascontiguousarray(values, np.float32)
    return {"name": name, "dims": data.shape, "data": base64.b64encode(data.tobytes()).decode()}


def facts(row):
    return {"score": round(float(row[4]), 6), "classId": int(row[5]), "box": [round(float(side), 4) for side in row[:4]]}


def listed(rows):
    """What a model with suppression inside gives: rows of equal number, zeros where there is no object."""
    most = max(map(len, rows)) + 2
    return np.stack([np.pad(one.numpy(), ((0, most - len(one)), (0, 0))) for one in rows])


def outline(mask):
    """The border of the mask's largest part."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    part = (labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)
    [border], _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return border.reshape(-1, 2).tolist()


def segment():
    outputs = made(lambda count: rng.normal(0, 1, (count, MASKS)))
    # Prototypes at a quarter of the input's size, smooth as those of a trained model.
    coarse = rng.normal(0.3, 1, (2, MASKS, 3, 5)).astype(np.float32)
    protos = torch.nn.functional.interpolate(torch.from_numpy(coarse), (HEIGHT // 4, WIDTH // 4), mode="bicubic")
    rows = kept(outputs)
    objects = []
    for one, proto in zip(rows, protos):
        masks = process_mask(proto, one[:, 6:], one[:, :4], (HEIGHT, WIDTH), upsample=True).numpy()
        objects.append([{**facts(row), "polygon": outline(mask)} for row, mask in zip(one, masks) if mask.any()])
    yield "yolov8-segment", [tensor("output0", outputs), tensor("output1", protos)], objects
    yield "end2end-segment", [tensor("output0", listed(rows)), tensor("output1", protos)], objects


def pose():
    outputs = made(lambda count: rng.uniform(0, 1, (count, KEYPOINTS * 3)) * ([WIDTH, HEIGHT, 1] * KEYPOINTS))
    rows = kept(outputs)
    objects = [
        [{**facts(row), "keypoints": row[6:].reshape(KEYPOINTS, 3).double().numpy().round(4).tolist()} for row in one] for one in rows
    ]
    yield "yolov8-pose", [tensor("output0", outputs)], objects
    yield "end2end-pose", [tensor("output0", listed(rows))], objects


def obb():
    outputs = made(lambda count: rng.uniform(-0.8, 2.4, (count, 1)))
    rows = kept(outputs, rotated=True)
    objects = []
    for one in rows:
        corners = xywhr2xyxyxyxy(torch.cat([one[:, :4], one[:, -1:]], 1)).double().numpy()
        around = np.concatenate([corners.min(1), corners.max(1)], 1)
        objects.append([
            {**facts([*box, *row[4:]]), "polygon": polygon.round(4).tolist()} for row, box, polygon in zip(one, around, corners)
        ])
    yield "yolov8-obb", [tensor("output0", outputs)], objects
    yield "end2end-obb", [tensor("output0", listed(rows))], objects


cases = [{"head": head, "outputs": outputs, "objects": objects} for task in (segment, pose, obb) for head, outputs, objects in task()]
print(json.dumps({"inputWidth": WIDTH, "inputHeight": HEIGHT, "threshold": THRESHOLD, "iou": IOU, "cases": cases}))
