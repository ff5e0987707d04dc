# The GPU image. torch's own packages contain CUDA, and the driver comes from the host through the NVIDIA
# container toolkit, so a CUDA base image would only add a second copy.

# Writes the requirements in pyproject.toml into separate files. When other lines of pyproject.toml change, these files
# stay the same, and so do the layers built from them, which are gigabytes.
FROM python:3.11-slim-bookworm AS requirements
WORKDIR /requirements
COPY pyproject.toml ./
RUN python -c 'import tomllib; asked = tomllib.load(open("pyproject.toml", "rb")); \
      print(*asked["build-system"]["requires"], *asked["project"]["dependencies"], sep="\n")' > trtserve.txt \
 && python -c 'import tomllib; asked = tomllib.load(open("pyproject.toml", "rb")); \
      print(*asked["project"]["optional-dependencies"]["tensorrt"], sep="\n")' > tensorrt.txt


FROM python:3.11-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ libnghttp2-dev && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/trtserve
ENV PATH=/opt/trtserve/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src

COPY --from=requirements /requirements/trtserve.txt /requirements/
RUN pip install -r /requirements/trtserve.txt 'cmake>=3.25' ninja

# This needs build isolation (trtserve itself is installed without): PyPI's package for TensorRT's libraries fetches
# them from NVIDIA's own index during its build, with a build backend that only this package declares.
COPY --from=requirements /requirements/tensorrt.txt /requirements/
RUN pip install -r /requirements/tensorrt.txt

# Installs the headers that the CUDA runtime's headers include but its package lacks, for the CUDA version of torch.
RUN cuda=$(python -c 'from importlib.metadata import version; print(version("nvidia-cuda-runtime"))') \
 && pip install "nvidia-cuda-crt==${cuda%.*}.*"

# Without the headers, the build leaves the backend out and still succeeds. This image is useless without the backend.
COPY . ./
RUN pip install --no-build-isolation '.[tensorrt]' \
 && test -f /opt/trtserve/lib/python3.11/site-packages/runtime_ext/backends/libtrtserve_backend_tensorrt*.so \
 && pip uninstall -y scikit-build-core cmake ninja grpcio-tools


FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends libnghttp2-14 && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 trtserve \
 && useradd --uid 10001 --gid trtserve --no-create-home --home-dir /tmp trtserve \
 && install -d -o trtserve -g trtserve /var/lib/trtserve
COPY --from=build /opt/trtserve /opt/trtserve

# On all addresses the server starts only with TRTSERVE_TOKEN_FILE, TRTSERVE_TLS_CLIENT_CA or TRTSERVE_AUTH=off: whoever
# runs the image decides.
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
# Checks live, not ready: a container that is still loading its engines is healthy. It has no client certificate, so give
# a server with mutual TLS a check of its own.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["python", "-c", "import os, ssl, urllib.request as r; e = os.environ; tls = bool(e.get('TRTSERVE_TLS_CERTIFICATE')); r.urlopen(f'http{\"s\" * tls}://127.0.0.1:{e[\"TRTSERVE_PORT\"]}/health/live', timeout=2, context=ssl._create_unverified_context() if tls else None)"]
ENTRYPOINT ["trtserve"]
CMD ["serve"]
