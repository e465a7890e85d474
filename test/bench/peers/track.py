"""Runs the ByteTrack of `supervision` and of `trackers` on boxes in MOT Challenge form, and evaluates them and ours.

Reads <folder>/<scene>/{gt,det,ours*}.txt (frame from 1, id, x, y, width, height, confidence; for det the id is -1) and
<folder>/<scene>/scene.json {fps, frames}; prints one JSON object {tracker: {scene: {idf1, mota, switches, ms}}}, and
under OVERALL the metrics over all scenes. `ms` is CPU time a frame of the tracker's update alone.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import motmetrics as mm
import numpy as np
import supervision as sv
from trackers import ByteTrackTracker

warnings.filterwarnings("ignore")


def peers(fps, thresholds):
    """Both as they come, and both with the confidences that ours uses."""
    high, new = thresholds["high_confidence"], thresholds["new_confidence"]
    lost = round(thresholds["lost_seconds"] * 30)
    return {
        "supervision, defaults": sv.ByteTrack(frame_rate=fps).update_with_detections,
        "supervision, our settings": sv.ByteTrack(
            frame_rate=fps, track_activation_threshold=high, lost_track_buffer=lost
        ).update_with_detections,
        "trackers, defaults": ByteTrackTracker(frame_rate=fps).update,
        "trackers, our settings": ByteTrackTracker(
            frame_rate=fps,
            high_conf_det_threshold=high,
            track_activation_threshold=new,
            lost_track_buffer=lost,
        ).update,
    }


def read(path):
    rows = np.loadtxt(path, delimiter=",", ndmin=2)
    return rows if rows.size else np.empty((0, 7))


def corners(rows):
    return np.hstack([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]])


def track(update, detections, frames):
    """Tracks one scene. Returns rows in MOT form and the CPU milliseconds a frame."""
    rows, spent = [], 0.0
    for frame in range(1, frames + 1):
        found = detections[detections[:, 0] == frame]
        boxes = sv.Detections(
            xyxy=corners(found),
            confidence=found[:, 6],
            class_id=np.zeros(len(found), int),
        )
        begin = time.process_time()
        tracked = update(boxes)
        spent += time.process_time() - begin
        for (x1, y1, x2, y2), number in zip(tracked.xyxy, tracked.tracker_id):
            if number >= 0:
                rows.append([frame, number, x1, y1, x2 - x1, y2 - y1, 1])
    return np.array(rows).reshape(-1, 7), 1000 * spent / frames


def accumulate(truth, result, frames):
    accumulator = mm.MOTAccumulator(auto_id=True)
    for frame in range(1, frames + 1):
        wanted, given = truth[truth[:, 0] == frame], result[result[:, 0] == frame]
        # motmetrics' own IoU matrix calls what NumPy 2 no longer has; NaN means that two can't be one.
        distance = 1 - sv.box_iou_batch(corners(wanted), corners(given))
        distance[distance > 0.5] = np.nan
        accumulator.update(wanted[:, 1].astype(int), given[:, 1].astype(int), distance)
    return accumulator


def main(folder):
    settings = json.loads((folder / "settings.json").read_text())
    scenes, ms = {}, {}
    for scene in sorted(path for path in folder.iterdir() if path.is_dir()):
        about = json.loads((scene / "scene.json").read_text())
        results = {
            "ours": read(scene / "ours.txt"),
            "ours, colours": read(scene / "ours-colours.txt"),
        }
        for name, update in peers(about["fps"], settings).items():
            results[name], ms[name, scene.name] = track(update, read(scene / "det.txt"), about["frames"])
        for name, result in results.items():
            scenes.setdefault(name, {})[scene.name] = accumulate(read(scene / "gt.txt"), result, about["frames"])
    output = {}
    for name, accumulators in scenes.items():
        table = mm.metrics.create().compute_many(
            list(accumulators.values()),
            names=list(accumulators),
            metrics=["idf1", "mota", "num_switches"],
            generate_overall=True,
        )
        output[name] = {
            scene: {
                "idf1": float(row.idf1),
                "mota": float(row.mota),
                "switches": int(row.num_switches),
                "ms": ms.get((name, scene)),
            }
            for scene, row in table.iterrows()
        }
    print(json.dumps(output))


main(Path(sys.argv[1]))
