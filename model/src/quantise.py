"""quantise.py MODEL FRAMES OUTPUT: writes MODEL with its convolutions in int8, calibrated on FRAMES.

FRAMES is a JSON list of {"file", "dims"}: uint8 tensors [1, H, W, 3], as the model server feeds the model.
"""

import json
import sys

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

model, frames, output = sys.argv[1:]


class Frames(CalibrationDataReader):
    def __init__(self):
        name = onnx.load(model, load_external_data=False).graph.input[0].name
        self.feeds = (
            {name: np.fromfile(one["file"], np.uint8).reshape(one["dims"])} for one in json.load(open(frames))
        )

    def get_next(self):
        return next(self.feeds, None)


quantize_static(
    model,
    output,
    Frames(),
    quant_format=QuantFormat.QDQ,
    per_channel=True,
    # A CPU without VNNI adds two products in 16 bits: weights of seven bits can't overflow.
    reduce_range=True,
    activation_type=QuantType.QUInt8,
    weight_type=QuantType.QInt8,
    # Only convolutions: the nodes after the last ones compute box coordinates, for which 256 values are too few.
    op_types_to_quantize=["Conv"],
)
