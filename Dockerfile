# The GPU image. torch's own packages carry CUDA; the driver comes from the host through the NVIDIA
# container toolkit, so a CUDA base image would only be a second copy.

FROM python:3.11-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/trtserve
ENV PATH=/opt/trtserve/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src

# What is built against, in a layer of its own: it changes far less often than the sources.
COPY pyproject.toml ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
      > /tmp/build-requirements.txt \
 && pip install -r /tmp/build-requirements.txt 'cmake>=3.25' ninja

COPY . ./
RUN pip install --no-build-isolation '.[tensorrt]' && pip uninstall -y scikit-build-core cmake ninja grpcio-tools


FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 trtserve \
 && useradd --uid 10001 --gid trtserve --no-create-home --home-dir /tmp trtserve \
 && install -d -o trtserve -g trtserve /var/lib/trtserve
COPY --from=build /opt/trtserve /opt/trtserve

ENV PATH=/opt/trtserve/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    TRTSERVE_HOST=0.0.0.0 \
    TRTSERVE_PORT=8000 \
    TRTSERVE_GRPC_PORT=8001 \
    TRTSERVE_STORE=/var/lib/trtserve

USER 10001:10001
WORKDIR /tmp
VOLUME /var/lib/trtserve
EXPOSE 8000 8001
# Live, not ready: a container that still loads its engines is healthy.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"TRTSERVE_PORT\"]}/health/live', timeout=2)"]
ENTRYPOINT ["trtserve"]
CMD ["serve"]
