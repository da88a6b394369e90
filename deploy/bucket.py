"""``python -m deploy.bucket``: create the buckets of BATON_STORAGE and BATON_RUNS unless they exist."""

import os

from pyarrow import fs


def main() -> None:
    places = [os.environ[name] for name in ("BATON_STORAGE", "BATON_RUNS")]
    for bucket in sorted({place.removeprefix("s3://").split("/")[0] for place in places if place.startswith("s3://")}):
        # By URI: S3FileSystem() itself does not look at AWS_ENDPOINT_URL.
        store, path = fs.FileSystem.from_uri(f"s3://{bucket}?allow_bucket_creation=true")
        store.create_dir(path)
        print(f"bucket {bucket} is there")


if __name__ == "__main__":
    main()
