# celldrop-inference-cuda: a task on an NVIDIA GPU, with torch for CUDA 12.8; drivers from 525 (CUDA 12.0) on will do.
#   docker build -f docker/pytorch-cuda.Dockerfile -t celldrop-inference-cuda .
ARG BASE=docker.io/library/python:3.11-slim

FROM ${BASE} AS build
# hadolint ignore=DL3008  # compiler and strip, whichever: they stay behind in this stage
RUN apt-get update && apt-get install --yes --no-install-recommends binutils gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY docker/pytorch-cuda.lock docker/
RUN python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --no-deps --only-binary :all: \
    --require-hashes --requirement docker/pytorch-cuda.lock \
 && pip --python /opt/venv/bin/python check
COPY . .
RUN pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --no-build-isolation --editable . \
 && pip --python /opt/venv/bin/python uninstall --yes setuptools \
 && docker/prune /opt/venv/lib/python3.11/site-packages \
 && tools/build-native && test -f shared/h5ad/read/_native.so && test -f jobs/engine/_native.so \
 && /opt/venv/bin/python docker/compile_imported.py cli functions jobs shared

FROM ${BASE}
RUN rm -rf /usr/local/lib/python3.11/site-packages/* /usr/local/lib/python3.11/ensurepip /usr/local/bin/pip* \
 && echo 'celldrop:x:10001:10001::/tmp:/usr/sbin/nologin' >>/etc/passwd
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app/shared /app/shared
COPY --from=build /app/functions /app/functions
COPY --from=build /app/jobs /app/jobs
COPY --from=build /app/cli /app/cli
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# Where Cloud Run and Google's machines put the driver, and what NVIDIA's own container runtime is to provide.
ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib64 NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
# An .env file of settings may be mounted here.
WORKDIR /etc/celldrop
USER 10001:10001
# No entry point: workflow engines run a shell in it.
CMD ["python", "-m", "jobs.inference.main"]
ARG BASE
ARG SOURCE=unknown
ARG REVISION=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title="celldrop-inference-cuda" \
      org.opencontainers.image.description="Drop an AnnData file in a bucket, get its cells annotated: the tasks, on a GPU." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.base.name="${BASE}"
