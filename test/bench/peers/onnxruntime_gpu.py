"""onnxruntime in Python, on the tensors that test/bench/bound.ts makes.

onnxruntime_gpu.py convert FP32 FP16 writes the model in half precision, its input and output in float32 still;
onnxruntime_gpu.py run MODEL DEVICE BATCH FRAMES prints {"fps", "fpsOnDevice"}: with its tensors in the host's memory, as
a server has them, and with all of them on the device already, which leaves the kernels alone.
"""

import json
import os
import sys
import time

import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

SHAPE = (3, 384, 640)


def convert(source, target):
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), target)


def rate(step, frames, batch):
    runs = max(1, round(frames / batch))
    for _ in range(min(10, runs)):
        step()
    start = time.perf_counter()
    for _ in range(runs):
        step()
    return runs * batch / (time.perf_counter() - start)


def run(model, device, batch, frames):
    batch, frames = int(batch), int(frames)
    if device == "cuda":
        onnxruntime.preload_dlls()
    session = onnxruntime.InferenceSession(model, providers=[f"{device.upper()}ExecutionProvider"])
    if not session.get_providers()[0].startswith(device.upper()):
        raise SystemExit(f"onnxruntime can't use {device}: it has {session.get_providers()}")
    name = session.get_inputs()[0].name
    pixels = (np.arange(batch * np.prod(SHAPE)) % 251 / 251).astype(np.float32).reshape(batch, *SHAPE)
    on_host = rate(lambda: session.run(None, {name: pixels}), frames, batch)

    binding = session.io_binding()
    binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(pixels, device, 0))
    for output in session.get_outputs():
        binding.bind_output(output.name, device)

    def step():
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    print(json.dumps({"fps": on_host, "fpsOnDevice": rate(step, frames, batch)}))


if __name__ == "__main__":
    {"convert": convert, "run": run}[sys.argv[1]](*sys.argv[2:])
