"""Exports detectors of several projects, with random weights, and writes what each project's own code makes of a picture.

export.py FOLDER PICTURE: FOLDER/NAME.onnx, and FOLDER/references.json: by name, the surest objects as [score, class, box].
"""

import importlib.util
import json
import os
import sys
import types
from importlib.abc import Loader, MetaPathFinder
from pathlib import Path
from unittest.mock import MagicMock

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


def stretch(size, mean=0, deviation=1):
    """The picture as OpenCV stretches it, and its height and width."""
    rgb = cv2.cvtColor(cv2.imread(picture), cv2.COLOR_BGR2RGB)
    pixels = (cv2.resize(rgb, (size, size)).astype(np.float32) / 255 - mean) / deviation
    return pixels.transpose(2, 0, 1).astype(np.float32), rgb.shape[:2]


def lay(size):
    """The picture as the server lays it, scaled, in the middle of grey; and what takes boxes back."""
    rgb = cv2.cvtColor(cv2.imread(picture), cv2.COLOR_BGR2RGB)
    scale = size / max(rgb.shape)
    small = cv2.resize(rgb, (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)))
    top, left = (size - small.shape[0]) // 2, (size - small.shape[1]) // 2
    laid = np.full((size, size, 3), 114, np.uint8)
    laid[top : top + small.shape[0], left : left + small.shape[1]] = small
    return laid.transpose(2, 0, 1).astype(np.float32) / 255, lambda boxes: (boxes - [left, top, left, top]) / scale


def run(name, pixels, outputs, more={}):
    """What the exported model answers."""
    session = onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    answers = session.run(outputs, {session.get_inputs()[0].name: pixels[None], **more})
    return [torch.from_numpy(one) for one in answers]


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
    pixels, shape = stretch(size, *(IMAGENET if normalised else ()))
    outputs = run(name, pixels, ["logits", "pred_boxes"])
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


def focal(name, kind):
    """Those of Hugging Face that count the best pairs of query and class."""
    import transformers as hf

    torch.manual_seed(4)
    config = getattr(hf, f"{kind}Config")(num_labels=80, num_queries=100, decoder_layers=2, d_model=64, encoder_hidden_dim=64, encoder_ffn_dim=64,
                                          decoder_ffn_dim=64, decoder_in_channels=[64, 64, 64], encoder_attention_heads=4, decoder_attention_heads=4)
    transformers(name, getattr(hf, f"{kind}ForObjectDetection")(config), hf.RTDetrImageProcessor(), 320, False)


class Absent(MetaPathFinder, Loader):
    """What a project imports for training alone, and pins to versions that no Python of today has."""

    def __init__(self, *names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if any(f"{name}.".startswith(f"{one}.") for one in self.names):
            return importlib.util.spec_from_loader(name, self, is_package=True)

    def create_module(self, spec):
        return MagicMock(__path__=[], __spec__=spec, __name__=spec.name)

    def exec_module(self, module):
        pass


def spread(layer, bias):
    """Random heads are as sure of everything."""
    torch.nn.init.normal_(layer.weight, std=0.05)
    torch.nn.init.constant_(layer.bias, bias)


def rfdetr(name):
    from rfdetr import RFDETRNano

    torch.manual_seed(7)
    model = RFDETRNano(pretrain_weights=None, device="cpu")
    spread(model.model.model.class_embed, -4)
    Path(model.export(output_dir=str(folder / name), verbose=False)).rename(folder / f"{name}.onnx")
    pixels, shape = stretch(model.model_config.resolution, *IMAGENET)
    boxes, logits = run(name, pixels, ["dets", "labels"])
    found = model.model.postprocess({"pred_logits": logits, "pred_boxes": boxes}, torch.tensor([shape]))[0]
    keep(name, found["scores"], found["labels"], found["boxes"])


def dfine(name):
    """By the project's own exporter: boxes in pixels of the size that it is told."""
    # The wheel lays parts of one package beside all others.
    package = sys.modules["dfine_project"] = types.ModuleType("dfine_project")
    package.__path__ = [next(path for path in sys.path if (Path(path) / "zoo/dfine").exists())]
    core = sys.modules["dfine_project.core"] = types.ModuleType("dfine_project.core")
    core.register = lambda **_: lambda kind: kind
    sys.meta_path.insert(0, Absent("torch.utils.tensorboard", "dfine_project.data", "dfine_project.misc"))
    from dfine_project.nn.backbone.hgnetv2 import HGNetv2
    from dfine_project.zoo.dfine import DFINE, DFINEPostProcessor, DFINETransformer, HybridEncoder

    torch.manual_seed(6)
    size = {"eval_spatial_size": [320, 320]}
    model = DFINE(
        HGNetv2("B0", use_lab=True, return_idx=[2, 3], freeze_at=-1, freeze_norm=False, pretrained=False),
        HybridEncoder([512, 1024], [16, 32], hidden_dim=128, use_encoder_idx=[1], dim_feedforward=512, expansion=0.34, depth_mult=0.5, **size),
        DFINETransformer(feat_channels=[128, 128], feat_strides=[16, 32], hidden_dim=128, num_levels=2, num_layers=2, num_points=[6, 6],
                         dim_feedforward=512, num_queries=100, num_denoising=0, **size),
    ).eval()
    wake(model)
    for head in [model.decoder.enc_score_head, *model.decoder.dec_score_head]:
        spread(head, -4)

    class Deployed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model, self.postprocessor = model.deploy(), DFINEPostProcessor(num_top_queries=100).deploy()

        def forward(self, images, orig_target_sizes):
            return self.postprocessor(self.model(images), orig_target_sizes)

    given = torch.rand(1, 3, 320, 320), torch.tensor([[320, 320]])
    batch = {name: {0: "N"} for name in ("images", "orig_target_sizes")}
    torch.onnx.export(Deployed().eval(), given, str(folder / f"{name}.onnx"), input_names=list(batch), output_names=["labels", "boxes", "scores"],
                      dynamic_axes=batch, opset_version=16, dynamo=False)
    pixels, shape = stretch(320)
    labels, boxes, scores = run(name, pixels, ["labels", "boxes", "scores"], {"orig_target_sizes": np.array([shape[::-1]])})
    keep(name, scores[0], labels[0], boxes[0])


def yolonas(name):
    """Its boxes and scores apart, as `prep_model_for_conversion` leaves them."""
    sys.meta_path.insert(0, Absent("boto3", "botocore", "data_gradients", "albumentations", "pycocotools", "torchmetrics", "torch.utils.tensorboard",
                                   "onnxsim", "imagesize"))
    from super_gradients.training import models
    from super_gradients.training.models.detection_models.pp_yolo_e import PPYoloEPostPredictionCallback

    torch.manual_seed(8)
    model = models.get("yolo_nas_s", num_classes=80).eval()
    wake(model)
    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.out_channels == 80:
            spread(layer, -5)
        # Chances of 17 distances to each side of a box: near ones, or each box would be the whole picture.
        if isinstance(layer, torch.nn.Conv2d) and layer.out_channels == 68:
            spread(layer, 0)
            layer.bias.data = torch.linspace(3, -9, 17).repeat(4)
    model.prep_model_for_conversion(input_size=(1, 3, 320, 320))
    torch.onnx.export(model, (torch.zeros(1, 3, 320, 320),), str(folder / f"{name}.onnx"), input_names=["input"], output_names=["boxes", "scores"],
                      opset_version=14, dynamo=False)
    pixels, back = lay(320)
    outputs = run(name, pixels, ["boxes", "scores"])
    after = PPYoloEPostPredictionCallback(score_threshold=SURE, nms_threshold=0.7, nms_top_k=30000, max_predictions=300)
    [found] = after((outputs, None))
    keep(name, found[:, 4], found[:, 5], back(found[:, :4].numpy()))


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

    laid, back = lay(320)
    pixels = torch.from_numpy(laid)
    given = pixels if rank == 3 else pixels[None]
    torch.onnx.export(
        One().eval(), (given,), str(folder / f"{name}.onnx"),
        input_names=["images"], output_names=["boxes", "labels", "scores"], opset_version=17, dynamo=False,
    )
    with torch.no_grad():
        found = model([pixels])[0]
    keep(name, found["scores"], found["labels"], back(found["boxes"].numpy()))


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
    "hf-rtdetr": lambda name: focal(name, "RTDetr"),
    "hf-rtdetr-v2": lambda name: focal(name, "RTDetrV2"),
    "hf-dfine": lambda name: focal(name, "DFine"),
    "hf-deimv2": lambda name: focal(name, "Deimv2"),
    "rfdetr-nano": rfdetr,
    "dfine": dfine,
    "yolo-nas-s": yolonas,
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
