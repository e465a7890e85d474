"""Reads exports of a search as their users do: read-exports.py <coco.json> <detections.parquet>. Prints what it found."""

import contextlib
import json
import sys

import pyarrow.parquet as pq
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# pycocotools tells what it does on stdout.
with contextlib.redirect_stdout(sys.stderr):
    coco = COCO(sys.argv[1])
    annotations = coco.loadAnns(coco.getAnnIds())
    names = ("image_id", "category_id", "bbox", "score")
    same = coco.loadRes([{name: one[name] for name in names} for one in annotations])
    evaluation = COCOeval(coco, same, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()

table = pq.read_table(sys.argv[2])
print(
    json.dumps(
        {
            "images": [image["file_name"] for image in coco.loadImgs(coco.getImgIds())],
            "categories": [one["name"] for one in coco.loadCats(coco.getCatIds())],
            "boxes": [one["bbox"] for one in annotations],
            "precision": round(float(evaluation.stats[0]), 6),
            "columns": table.column_names,
            "rows": table.select(["frame_number", "class_name", "x2", "zones"]).to_pylist(),
        }
    )
)
