"""``python -m deploy.bucket``: create the buckets of BATON_STORAGE and BATON_RUNS unless they exist."""

import os

from pyarrow import fs


def main() -> None:
    store = fs.S3FileSystem(allow_bucket_creation=True)  # endpoint and keys come from the AWS variables
    names = {os.environ[name].removeprefix("s3://").split("/")[0] for name in ("BATON_STORAGE", "BATON_RUNS")}
    for name in sorted(names):
        store.create_dir(name)
        print(f"bucket {name} is there")


if __name__ == "__main__":
    main()
