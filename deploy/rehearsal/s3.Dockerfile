# A stand-in for the image of SeaweedFS, where no registry can be reached: moto's S3 server, which forgets everything when
# it ends, and looks at the access key, but at no signature.
FROM docker.io/library/python:3.11-slim-bookworm
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf python3 -m venv /venv && /venv/bin/pip install --quiet 'moto[server]>=5.2.5'
COPY s3_server.py /s3_server.py
RUN printf '#!/bin/sh\nexec /venv/bin/python /s3_server.py\n' >/usr/local/bin/weed \
    && printf '#!/bin/sh\nexec python3 -c "import urllib.request; urllib.request.urlopen(\047http://localhost:8333/healthz\047)"\n' >/usr/local/bin/wget \
    && chmod +x /usr/local/bin/weed /usr/local/bin/wget
