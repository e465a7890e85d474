"""Prints what was seen, frame by frame: pip install confluent-kafka && python3 subscribe.py [stream]

docs/formats.md has the headers, and how to connect on AWS. KAFKA_BOOTSTRAP_SERVERS and KAFKA_DETECTIONS_TOPIC say where to
read. Each run has a consumer group of its own, so that it gets every frame. GROUP_ID names a group that several runs share.
"""

import json
import os
import sys
import uuid


def read(headers):
    """A record of `detections`. @returns its facts, and the list of detections"""
    # Only the headers that are known: others may hold bytes that are no text.
    known = {"stream_id", "session", "frame_number", "captured_at", "detections"}
    facts = {name: value.decode() for name, value in headers if name in known}
    return {
        "stream_id": facts["stream_id"],
        # A frame may come twice. These two and the stream identify it.
        "session": facts["session"],
        "frame_number": int(facts["frame_number"]),
        "captured_at": int(facts["captured_at"]),
        "detections": json.loads(facts["detections"]),
    }


def main():
    from confluent_kafka import Consumer

    consumer = Consumer(
        {
            "bootstrap.servers": os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
            "group.id": os.environ.get("GROUP_ID", f"subscribe-{uuid.uuid4()}"),
            "auto.offset.reset": "latest",
        }
    )
    consumer.subscribe([os.environ.get("KAFKA_DETECTIONS_TOPIC", "detections")])
    wanted = sys.argv[1] if len(sys.argv) > 1 else None
    while True:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            # An unknown topic or a missing right, for example. The client itself tries again.
            print(message.error(), file=sys.stderr, flush=True)
            continue
        try:
            frame = read(message.headers() or [])
        except (KeyError, ValueError) as problem:
            print(f"offset {message.offset()} is no frame: {problem!r}", file=sys.stderr, flush=True)
            continue
        if wanted in (None, frame["stream_id"]):
            seen = [f"{one['class_name']} {one['confidence']:.2f}" for one in frame["detections"]]
            print(frame["stream_id"], frame["frame_number"], ", ".join(seen) or "nothing", flush=True)


if __name__ == "__main__":
    main()
