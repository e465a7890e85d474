"""The usual way to do what ingest does: OpenCV's VideoCapture and imencode, and confluent-kafka.
ingest.py produce FILE BOOTSTRAP TOPIC RATE QUALITY publishes the samples of FILE;
ingest.py quality FILE QUALITY prints bytes and luma PSNR of one picture in 25, against the picture before the JPEG."""
import json
import sys

import cv2
import numpy as np


def pictures(path):
    """Every picture of the file and its time in seconds."""
    capture = cv2.VideoCapture(path)
    rate = capture.get(cv2.CAP_PROP_FPS)
    index = 0
    while capture.grab():
        yield capture, index / rate
        index += 1


def produce(path, bootstrap, topic, rate, quality):
    from confluent_kafka import Producer

    producer = Producer({'bootstrap.servers': bootstrap, 'acks': 'all', 'enable.idempotence': True, 'linger.ms': 5})
    due, sent = 0.0, 0
    for capture, time in pictures(path):
        if time + 1e-6 < due:
            continue
        due += 1 / float(rate)
        _, picture = capture.retrieve()
        _, jpeg = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
        headers = {'stream_id': 'bench', 'frame_number': str(sent), 'captured_at': str(int(time * 1000))}
        while True:
            try:
                producer.produce(topic, key='bench', value=jpeg.tobytes(), headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        sent += 1
    producer.flush()
    print(sent)


def quality(path, quality):
    results = []
    for index, (capture, _) in enumerate(pictures(path)):
        if index % 25:
            continue
        _, picture = capture.retrieve()
        _, jpeg = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
        luma = [cv2.cvtColor(one, cv2.COLOR_BGR2YCrCb)[:, :, 0].astype(np.float64) for one in (picture, cv2.imdecode(jpeg, 1))]
        error = float(((luma[0] - luma[1]) ** 2).mean())
        results.append({'bytes': len(jpeg), 'squaredError': error})
    print(json.dumps(results))


if __name__ == '__main__':
    {'produce': produce, 'quality': quality}[sys.argv[1]](*sys.argv[2:])
