"""What shapely (GEOS) says of zones: reads a JSON list of {polygon, holes, box} in shares of the picture from stdin.

Prints a JSON list of {sound, by_point, share}: whether the zone can be used, whether the bottom centre of the box lies
in it (its borders and those of its holes belong to it), and which share of the box it covers.
"""

import json
import sys
from itertools import combinations

from shapely import Point, Polygon, box as box_of


def is_sound(outer, holes, rings):
    if any(len(set(map(tuple, ring))) < len(ring) for ring in rings):
        return False
    if not outer.is_valid or not all(hole.is_valid and outer.covers(hole) for hole in holes):
        return False
    return not any(one.relate_pattern(other, "T********") for one, other in combinations(holes, 2))


def judge(case):
    rings = [case["polygon"], *case["holes"]]
    outer, *holes = [Polygon(ring) for ring in rings]
    if not is_sound(outer, holes, rings):
        return {"sound": False}
    x1, y1, x2, y2 = case["box"]
    foot, frame = Point((x1 + x2) / 2, y2), box_of(x1, y1, x2, y2)
    zone = outer
    for hole in holes:
        zone = zone.difference(hole)
    return {
        "sound": True,
        "by_point": outer.covers(foot) and not any(hole.contains(foot) for hole in holes),
        "share": zone.intersection(frame).area / frame.area,
    }


print(json.dumps([judge(case) for case in json.load(sys.stdin)]))
