"""Asks the model server what is in a picture, by the Open Inference Protocol: python3 infer-v2.py picture.jpg

Start the server with `npm run model`. Its address is INFERENCE_SERVICE_URL, or http://localhost:8000.
"""

import base64
import json
import os
import sys
import urllib.request

SERVER = os.environ.get("INFERENCE_SERVICE_URL", "http://localhost:8000")


def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(SERVER + path, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def main(picture):
    model = ask("/health")["model"]
    with open(picture, "rb") as file:
        data = [base64.b64encode(file.read()).decode()]
    inputs = [{"name": "image", "shape": [1], "datatype": "BYTES", "data": data}]
    answer = ask(f"/v2/models/{model}/infer", {"inputs": inputs, "parameters": {"threshold": 0.3}})
    # One JSON text for each picture.
    for text in answer["outputs"][0]["data"]:
        for one in json.loads(text)["detections"]:
            print(one["class_name"], round(one["confidence"], 2), [round(side) for side in one["bbox"]])


if __name__ == "__main__":
    main(sys.argv[1])
