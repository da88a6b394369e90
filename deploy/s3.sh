#!/bin/sh
# Start SeaweedFS with one user, whose keys come by environment. No keys would mean: everybody may do everything.
set -eu
umask 077
cat >/tmp/s3.json <<JSON
{"identities": [{"name": "baton", "credentials": [{"accessKey": "${S3_ACCESS_KEY:?}", "secretKey": "${S3_SECRET_KEY:?}"}],
  "actions": ["Admin", "Read", "List", "Tagging", "Write"]}]}
JSON
exec weed server -dir=/data -s3 -s3.port=8333 -s3.config=/tmp/s3.json -volume.max=0 -master.volumeSizeLimitMB=1024
