"""What Ultralytics makes of a data set in its own layout: yolo_dataset.py <data.yaml>. Prints JSON."""

import json
import sys

from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import check_det_dataset

data = check_det_dataset(sys.argv[1], autodownload=False)
labels = YOLODataset(img_path=data["train"], data=data, augment=False).labels
print(
    json.dumps(
        {
            "names": {str(index): name for index, name in data["names"].items()},
            "labels": [
                {
                    "classes": [int(index) for index in one["cls"].flatten()],
                    "boxes": [[round(float(share), 4) for share in box] for box in one["bboxes"]],
                }
                for one in labels
            ],
        }
    )
)
