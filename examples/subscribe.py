"""Prints what was seen, frame by frame: pip install confluent-kafka && python3 subscribe.py [stream]

docs/formats.md has the headers. A consumer group of its own gets every frame, beside the pipeline's stages.
"""

import json
import os
import sys


def read(key, headers):
    """A record of `detections`. @returns its facts, and the list of detections"""
    facts = {name: value.decode() for name, value in headers}
    return {
        "stream_id": key.decode(),
        "frame_number": int(facts["frame_number"]),
        "captured_at": int(facts["captured_at"]),
        "detections": json.loads(facts["detections"]),
    }


def main():
    from confluent_kafka import Consumer

    consumer = Consumer(
        {
            "bootstrap.servers": os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
            "group.id": "examples-subscribe",
            "auto.offset.reset": "latest",
        }
    )
    consumer.subscribe(["detections"])
    wanted = sys.argv[1] if len(sys.argv) > 1 else None
    while True:
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue
        frame = read(message.key(), message.headers())
        if wanted in (None, frame["stream_id"]):
            seen = [f"{one['class_name']} {one['confidence']:.2f}" for one in frame["detections"]]
            print(frame["stream_id"], frame["frame_number"], ", ".join(seen) or "nothing", flush=True)


if __name__ == "__main__":
    main()
