"""Exports detectors of several projects, with random weights, and writes what each project's own code makes of a picture.

export.py FOLDER PICTURE: FOLDER/NAME.onnx, and FOLDER/references.json: by name, the surest objects as [score, class, box].
"""

import json
import os
import sys
from pathlib import Path

os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true", YOLO_CONFIG_DIR=sys.prefix, HF_HUB_OFFLINE="1")

import cv2
import numpy as np
import onnxruntime
import torch
from PIL import Image

folder, picture = Path(sys.argv[1]), sys.argv[2]
folder.mkdir(parents=True, exist_ok=True)
references = {}
SURE = 5e-3


def keep(name, scores, classes, boxes):
    found = sorted(zip(map(float, scores), map(int, classes), boxes.tolist()), key=lambda one: -one[0])
    references[name] = [[score, kind, box] for score, kind, box in found[:50]]


def wake(model):
    """Normalises each layer by what it gives of the picture: through fresh layers, nothing would come."""
    pixels = cv2.resize(cv2.imread(picture)[..., ::-1], (320, 320)).transpose(2, 0, 1)[None].astype(np.float32) / 255
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    # Two, as a layer may see one value of each.
    both = torch.from_numpy(np.concatenate([pixels, pixels[..., ::-1]]))
    with torch.no_grad():
        model(both)
    model.eval()


def ultralytics(name, config, kind="YOLO", **how):
    import ultralytics

    torch.manual_seed(1)
    model = getattr(ultralytics, kind)(config)
    wake(model.model)
    # Random heads see nothing: spread their scores.
    for module in model.model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.out_channels == 80 and module.bias is not None:
            torch.nn.init.normal_(module.weight, std=0.003)
            module.bias.data.fill_(-5.0)
        # Distances to the sides of a box, in cells: random ones would be negative.
        if isinstance(module, torch.nn.Conv2d) and module.out_channels == 4 and module.bias is not None:
            torch.nn.init.normal_(module.weight, std=0.003)
            module.bias.data.fill_(3.0)
        if isinstance(module, torch.nn.Linear) and module.out_features == 80:
            torch.nn.init.normal_(module.weight, std=0.06)
    model.model.pt_path = str(folder / f"{name}.pt")
    path = model.export(format="onnx", imgsz=320, **{"simplify": False, **how})
    target = folder / f"{name}.onnx"
    if Path(path) != target:
        Path(path).rename(target)
    served = getattr(ultralytics, kind)(str(target), **({"task": "detect"} if kind == "YOLO" else {}))
    boxes = served.predict(picture, imgsz=320, conf=SURE, iou=0.7, verbose=False, device="cpu")[0].boxes
    keep(name, boxes.conf, boxes.cls, boxes.xyxy)


def run(name, size, mean, deviation, names):
    """The model's answer to the picture, stretched as OpenCV does it."""
    rgb = cv2.cvtColor(cv2.imread(picture), cv2.COLOR_BGR2RGB)
    pixels = (cv2.resize(rgb, (size, size)).astype(np.float32) / 255 - mean) / deviation
    session = onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    outputs = session.run(names, {session.get_inputs()[0].name: pixels.transpose(2, 0, 1)[None].astype(np.float32)})
    return [torch.from_numpy(one) for one in outputs], rgb.shape[:2]


class Answer:
    def __init__(self, logits, pred_boxes):
        self.logits, self.pred_boxes = logits, pred_boxes


IMAGENET = (np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225]))


def transformers(name, model, processor, size, normalised):
    class Outputs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model.eval()

        def forward(self, pixel_values):
            answer = self.model(pixel_values)
            return answer.logits, answer.pred_boxes

    torch.onnx.export(
        Outputs(), (torch.zeros(1, 3, size, size),), str(folder / f"{name}.onnx"),
        input_names=["pixel_values"], output_names=["logits", "pred_boxes"], opset_version=17, dynamo=False,
    )
    outputs, shape = run(name, size, *(IMAGENET if normalised else (0, 1)), ["logits", "pred_boxes"])
    found = processor.post_process_object_detection(Answer(*outputs), threshold=SURE, target_sizes=[shape])[0]
    keep(name, found["scores"], found["labels"], found["boxes"])


def detr():
    from transformers import DetrConfig, DetrForObjectDetection, DetrImageProcessor, ResNetConfig

    torch.manual_seed(2)
    backbone = ResNetConfig(embedding_size=16, hidden_sizes=[16, 32, 64, 128], depths=[1, 1, 1, 1], layer_type="basic", out_features=["stage4"])
    config = DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone, d_model=64, encoder_layers=1,
        decoder_layers=1, encoder_ffn_dim=64, decoder_ffn_dim=64, num_labels=80, num_queries=50, encoder_attention_heads=4, decoder_attention_heads=4,
    )
    model = DetrForObjectDetection(config)
    model.class_labels_classifier.bias.data[-1] = 3
    transformers("hf-detr", model, DetrImageProcessor(), 320, True)


def yolos():
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    torch.manual_seed(3)
    config = YolosConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=[320, 320], num_detection_tokens=50, num_labels=80)
    model = YolosForObjectDetection(config)
    model.class_labels_classifier.layers[-1].bias.data[-1] = 3
    transformers("hf-yolos", model, YolosImageProcessor(), 320, True)


def rtdetr():
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrImageProcessor

    torch.manual_seed(4)
    config = RTDetrConfig(num_labels=80, num_queries=100, decoder_layers=2, d_model=64, encoder_hidden_dim=64, encoder_ffn_dim=64, decoder_ffn_dim=64,
                          decoder_in_channels=[64, 64, 64], encoder_attention_heads=4, decoder_attention_heads=4)
    transformers("hf-rtdetr", RTDetrForObjectDetection(config), RTDetrImageProcessor(), 320, False)


def torchvision(name, build, rank):
    from torchvision.models import detection

    torch.manual_seed(5)
    how = {"score_thresh": SURE} if "rcnn" not in build else {"box_score_thresh": SURE}
    model = getattr(detection, build)(weights=None, weights_backbone=None, **how).eval()
    wake(model)
    # Random heads are too sure of nothing.
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.out_channels % 91 == 0:
            torch.nn.init.normal_(module.weight, std=0.01)

    class One(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, images):
            found = self.model([images] if rank == 3 else list(images))[0]
            return found["boxes"], found["labels"], found["scores"]

    # As the server lays it: scaled, in the middle of grey.
    rgb = cv2.cvtColor(cv2.imread(picture), cv2.COLOR_BGR2RGB)
    scale = 320 / max(rgb.shape)
    small = cv2.resize(rgb, (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)))
    top, left = (320 - small.shape[0]) // 2, (320 - small.shape[1]) // 2
    laid = np.full((320, 320, 3), 114, np.uint8)
    laid[top : top + small.shape[0], left : left + small.shape[1]] = small
    pixels = torch.from_numpy(laid.transpose(2, 0, 1).astype(np.float32) / 255)
    given = pixels if rank == 3 else pixels[None]
    torch.onnx.export(
        One().eval(), (given,), str(folder / f"{name}.onnx"),
        input_names=["images"], output_names=["boxes", "labels", "scores"], opset_version=17, dynamo=False,
    )
    with torch.no_grad():
        found = model([pixels])[0]
    boxes = (found["boxes"].numpy() - [left, top, left, top]) / scale
    keep(name, found["scores"], found["labels"], boxes)


EXPORTS = {
    "yolov8n-dynamic": lambda name: ultralytics(name, "yolov8n.yaml", dynamic=True),
    "yolov5nu": lambda name: ultralytics(name, "yolov5n.yaml"),
    "yolo11n-nms": lambda name: ultralytics(name, "yolo11n.yaml", nms=True, conf=SURE),
    "yolo12n": lambda name: ultralytics(name, "yolo12n.yaml", dynamic=True),
    "yolov10n-dynamic": lambda name: ultralytics(name, "yolov10n.yaml", dynamic=True),
    "yolo26n": lambda name: ultralytics(name, "yolo26n.yaml"),
    "yolo26n-dynamic": lambda name: ultralytics(name, "yolo26n.yaml", dynamic=True),
    "rtdetr-l": lambda name: ultralytics(name, "rtdetr-l.yaml", kind="RTDETR"),
    "hf-detr": lambda name: detr(),
    "hf-yolos": lambda name: yolos(),
    "hf-rtdetr": lambda name: rtdetr(),
    "fasterrcnn": lambda name: torchvision(name, "fasterrcnn_mobilenet_v3_large_320_fpn", 4),
    "ssdlite": lambda name: torchvision(name, "ssdlite320_mobilenet_v3_large", 3),
}
failed = {}
for name, export in EXPORTS.items():
    if sys.argv[3:] and name not in sys.argv[3:]:
        continue
    try:
        export(name)
        print(name, len(references.get(name, [])), references.get(name, [])[:1], file=sys.stderr)
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {error}"
        print(name, failed[name], file=sys.stderr)
    # After each, so that a run that is broken off leaves what it made.
    (folder / "references.json").write_text(json.dumps({"found": references, "failed": failed}))
