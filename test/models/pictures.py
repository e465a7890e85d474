"""What Python's tools make of pictures with a model of YOLOv8's layout: pictures.py MODEL PICTURE...

OpenCV reads, Ultralytics lays into the model's input and suppresses, onnxruntime infers. Prints JSON: a list for each picture of
its objects as [score, class, box].
"""

import json
import os
import sys

os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true", YOLO_CONFIG_DIR=sys.prefix)

import cv2
import numpy as np
import onnxruntime
import torch
from ultralytics.data.augment import LetterBox
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.ops import scale_boxes

model, *pictures = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
given = session.get_inputs()[0]
said = session.get_modelmeta().custom_metadata_map
size, iou = json.loads(said["imgsz"]), float(said.get("iou", 0.7))
answers = []
for picture in pictures:
    bgr = cv2.imread(picture)
    laid = LetterBox(size, auto=True, stride=32)(image=bgr)
    pixels = laid[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
    [output] = session.run(None, {given.name: pixels})
    [found] = non_max_suppression(torch.from_numpy(output), conf_thres=0.3, iou_thres=iou)
    found[:, :4] = scale_boxes(laid.shape[:2], found[:, :4], bgr.shape)
    answers.append([[score, int(kind), box] for *box, score, kind in found.tolist()])
print(json.dumps(answers))
