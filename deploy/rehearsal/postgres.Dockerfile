# A stand-in for the image of PostgreSQL, where no registry can be reached: Debian's PostgreSQL 15 and as much of the
# official entrypoint as docker-compose.yaml uses.
FROM docker.io/library/python:3.11-slim-bookworm
RUN apt-get update && apt-get install --yes --no-install-recommends postgresql-15 && rm -rf /var/lib/apt/lists/*
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
RUN install -d -o postgres -m 700 /var/lib/postgresql/data
COPY postgres.sh /entrypoint.sh
USER postgres
ENTRYPOINT ["/bin/sh", "/entrypoint.sh"]
