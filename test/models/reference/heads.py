"""Reference values for the heads: raw outputs of each family of models, and what an independent decoder in numpy
sees in them, straight from each family's published definition, without regard to speed.

    pip install numpy==2.4.6 && python test/models/reference/heads.py > test/models/reference/heads.json
"""

import base64
import json

import numpy as np

WIDTH, HEIGHT, CLASSES = 64, 32, 5
STRIDES = (8, 16, 32)
THRESHOLD, IOU = 0.25, 0.5
rng = np.random.default_rng(20)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cells():
    """(column, row, stride) of every cell, finest stride first, row by row."""
    return [(x, y, s) for s in STRIDES for y in range(HEIGHT // s) for x in range(WIDTH // s)]


def plausible_boxes(count):
    """cx, cy, w, h in pixels, several about each of a few objects, so that suppression has work to do."""
    objects = rng.uniform((10, 8, 12, 10), (WIDTH - 10, HEIGHT - 8, 30, 20), (4, 4))
    return objects[rng.integers(0, 4, count)] + rng.normal(0, 1.5, (count, 4))


def scores(count):
    """Mostly low, some high."""
    return sigmoid(rng.normal(-5, 2.5, (count, CLASSES)))


def corners(b):
    return np.array([b[0] - b[2] / 2, b[1] - b[3] / 2, b[0] + b[2] / 2, b[1] + b[3] / 2])


def best(boxes, class_scores):
    """The best class of each box, where it reaches the threshold."""
    found = []
    for box, row in zip(boxes, class_scores):
        c = int(np.argmax(row))
        if row[c] >= THRESHOLD:
            found.append({"classId": c, "score": round(float(row[c]), 7), "box": [round(float(v), 5) for v in box]})
    return found


def pairs(boxes, class_scores):
    """Every pair of box and class that reaches the threshold."""
    return [
        {"classId": c, "score": round(float(s), 7), "box": [round(float(v), 5) for v in box]}
        for box, row in zip(boxes, class_scores)
        for c, s in enumerate(row)
        if s >= THRESHOLD
    ]


def iou(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    inter = max(w, 0) * max(h, 0)
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def nms(found, agnostic):
    rest = sorted(found, key=lambda d: -d["score"])
    kept = []
    while rest:
        first = rest.pop(0)
        kept.append(first)
        rest = [
            d
            for d in rest
            if iou(first["box"], d["box"]) <= IOU or (not agnostic and d["classId"] != first["classId"])
        ]
    return kept


def tensor(name, array):
    data = base64.b64encode(np.ascontiguousarray(array, dtype="<f4").tobytes()).decode()
    return {"name": name, "dims": list(array.shape), "data": data}


def float32(array):
    """What the head will see."""
    return np.asarray(array, dtype=np.float32)


def yolov8(count):
    raw = float32(np.concatenate([plausible_boxes(count), scores(count)], axis=1).T)
    return [raw], best([corners(b) for b in raw[:4].T], raw[4:].T)


def yolov5(count):
    objectness = sigmoid(rng.normal(0, 2, (count, 1)))
    raw = float32(np.concatenate([plausible_boxes(count), objectness, scores(count) ** 0.3], axis=1))
    return [raw], best([corners(b) for b in raw[:, :4]], raw[:, 4:5] * raw[:, 5:])


def yolox(_count):
    grid = cells()
    objectness = sigmoid(rng.normal(0, 2, (len(grid), 1)))
    raw = float32(
        np.concatenate([rng.normal(1.4, 0.5, (len(grid), 4)), objectness, scores(len(grid)) ** 0.3], axis=1)
    )
    boxes = [
        corners([(r[0] + x) * s, (r[1] + y) * s, np.exp(r[2]) * s, np.exp(r[3]) * s])
        for r, (x, y, s) in zip(raw, grid)
    ]
    return [raw], best(boxes, raw[:, 4:5] * raw[:, 5:])


def end2end(count):
    boxes = np.array([corners(b) for b in plausible_boxes(count)])
    raw = float32(
        np.column_stack([boxes, rng.uniform(0, 1, count), rng.integers(0, CLASSES, count).astype(float)])
    )
    return [raw], [
        {"classId": int(r[5]), "score": round(float(r[4]), 7), "box": [round(float(v), 5) for v in r[:4]]}
        for r in raw
        if r[4] >= THRESHOLD
    ]


def normalised(count):
    return plausible_boxes(count) / (WIDTH, HEIGHT, WIDTH, HEIGHT)


def rtdetr(count):
    raw = float32(np.concatenate([normalised(count), scores(count)], axis=1))
    return [raw], best([corners(b * (WIDTH, HEIGHT, WIDTH, HEIGHT)) for b in raw[:, :4]], raw[:, 4:])


def detr(count):
    logits = float32(rng.normal(-5, 2.5, (count, CLASSES)))
    boxes = float32(normalised(count))
    found = pairs([corners(b * (WIDTH, HEIGHT, WIDTH, HEIGHT)) for b in boxes], sigmoid(logits.astype(float)))
    return [logits, boxes], found


def case(name, make, suppressed):
    """Two pictures in one batch."""
    pictures = [make(42), make(42)]
    outputs = [np.stack(arrays) for arrays in zip(*(raw for raw, _ in pictures))]
    return {
        "head": name,
        "outputs": [tensor(f"output{i}", array) for i, array in enumerate(outputs)],
        "candidates": [found for _, found in pictures],
        **(
            {"classAware": nms(pictures[0][1], False), "classAgnostic": nms(pictures[0][1], True)}
            if suppressed
            else {}
        ),
    }


print(
    json.dumps(
        {
            "madeBy": f"test/models/reference/heads.py with numpy {np.__version__}",
            **{"inputWidth": WIDTH, "inputHeight": HEIGHT, "threshold": THRESHOLD, "iou": IOU},
            "cases": [
                case("yolov8", yolov8, True),
                case("yolov5", yolov5, True),
                case("yolox", yolox, True),
                case("end2end", end2end, False),
                case("rtdetr", rtdetr, False),
                case("detr", detr, False),
            ],
        }
    )
)
