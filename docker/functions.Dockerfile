# celldrop-functions: ingest, dispatch, status and reconcile; the argument says which. No torch.
#   docker build -f docker/functions.Dockerfile -t celldrop-functions .
ARG BASE=docker.io/library/python:3.11-slim

FROM ${BASE} AS build
# hadolint ignore=DL3008  # strip, whichever: it stays behind in this stage
RUN apt-get update && apt-get install --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY docker/functions.lock docker/
RUN python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --no-deps --only-binary :all: \
    --require-hashes --requirement docker/functions.lock \
 && pip --python /opt/venv/bin/python check
COPY . .
RUN pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --no-build-isolation --editable . \
 && pip --python /opt/venv/bin/python uninstall --yes setuptools \
 && docker/prune /opt/venv/lib/python3.11/site-packages \
 && /opt/venv/bin/python docker/compile_imported.py functions shared

FROM ${BASE}
RUN rm -rf /usr/local/lib/python3.11/site-packages/* /usr/local/lib/python3.11/ensurepip /usr/local/bin/pip* \
 && echo 'celldrop:x:10001:10001::/tmp:/usr/sbin/nologin' >>/etc/passwd
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app/docker/serve /app/
COPY --from=build /app/shared /app/shared
COPY --from=build /app/functions /app/functions
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# An .env file of settings may be mounted here.
WORKDIR /etc/celldrop
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["/app/serve"]
ARG BASE
ARG SOURCE=unknown
ARG REVISION=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title="celldrop-functions" \
      org.opencontainers.image.description="Drop an AnnData file in a bucket, get its cells annotated: the functions." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.base.name="${BASE}"
