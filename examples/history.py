"""What was seen in each hour, by SQL on the bucket: pip install duckdb pyarrow && python3 history.py [class]

The cells (`# %%`) run in a notebook too. `eval "$(npm run local -s -- env)"` sets the variables for the pipeline on this
machine; for a deployed one S3_BUCKET and AWS_REGION are enough. docs/tables.md has the columns.
"""

# %%
import os
import sys
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import S3FileSystem

# %% The bucket, by S3's API.
bucket = os.environ.get("S3_BUCKET", "video-pipeline-output")
endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL", ""))
s3 = S3FileSystem(
    region=os.environ.get("AWS_REGION", "us-east-1"),
    endpoint_override=endpoint.netloc or None,
    scheme=endpoint.scheme or "https",
)


# %% A table, of which only the files and columns are fetched that a question needs.
def table(name):
    folders = pa.schema([("date", pa.string()), ("hour", pa.string())])
    return ds.dataset(f"{bucket}/tables/{name}", filesystem=s3, partitioning=ds.partitioning(folders, flavor="hive"))


detections = table("detections")

# %% How often a class was seen in each hour, and how many objects of it. The folder `hour=` says where a file begins, and
# a file may hold several hours: the time of capture says the hour.
wanted = sys.argv[1] if len(sys.argv) > 1 else "person"
hours = duckdb.execute(
    """
    SELECT strftime(epoch_ms(captured_at), '%Y-%m-%d %H:00') AS hour, stream_id,
      count(*) AS detections, count(DISTINCT track_id) AS tracks
    FROM detections WHERE class_name = $wanted
    GROUP BY ALL ORDER BY ALL
    """,
    {"wanted": wanted},
).fetchall()
for hour, stream, seen, tracks in hours:
    print(f"{hour}  {stream}  {seen} times {wanted}, {tracks} tracks")
