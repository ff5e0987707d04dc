# The images: `gpu`, with torch's CUDA, TensorRT and its backend, and `cpu`, with OpenVINO and nothing that a server on
# the CPU does not use.
#
#   docker build --target gpu -t trtserve:0.1.0 .
#   docker build --target cpu -t trtserve:0.1.0-cpu .        or, with Podman or Buildah as well: make image
#
# Both have OpenVINO. The gpu image has no CUDA base: torch's own packages contain CUDA, and the driver comes from the
# host through the NVIDIA container toolkit, so a CUDA base would only add a second copy.
#
# BASE may be any Debian from 12 on, and so an image of python:3-slim; the Python that runs is Debian's.
ARG BASE=docker.io/library/debian:12-slim

FROM ${BASE} AS base
RUN apt-get update \
 && apt-get install -y --no-install-recommends libjpeg62-turbo libnghttp2-14 python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*
RUN groupadd --gid 10001 trtserve \
 && useradd --uid 10001 --gid trtserve --no-create-home --home-dir /tmp --no-log-init trtserve \
 && install -d -o trtserve -g trtserve /var/lib/trtserve


# What builds either image.
FROM base AS tools
# The packages of the final image, for its SBOM: those for the build come after this.
RUN dpkg-query --show --showformat='${Package}\t${Version}\t${Architecture}\t${source:Package}\n' > /debian.tsv
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates g++ libjpeg62-turbo-dev libnghttp2-dev python3-dev python3-venv
ENV PATH=/opt/trtserve/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/trtserve \
 && python3 -m venv /opt/sbom && /opt/sbom/bin/pip install 'cyclonedx-python-lib>=11,<12'
WORKDIR /src
# The requirements in files of their own. When other lines of pyproject.toml change, these files stay the same, and so do
# the layers built from them, which are gigabytes.
COPY pyproject.toml ./
RUN python -c 'import tomllib; asked = tomllib.load(open("pyproject.toml", "rb")); \
      [print(one) for one in asked["build-system"]["requires"] if one.startswith("torch>")]' > /torch.txt \
 && python -c 'import tomllib; asked = tomllib.load(open("pyproject.toml", "rb")); \
      print(*asked["build-system"]["requires"], *asked["project"]["dependencies"], \
            *asked["project"]["optional-dependencies"]["tracing"], sep="\n")' > /trtserve.txt \
 && python -c 'import tomllib; asked = tomllib.load(open("pyproject.toml", "rb")); \
      print(*asked["project"]["optional-dependencies"]["tensorrt"], sep="\n")' > /tensorrt.txt


FROM tools AS build-cpu
# PyPI's torch contains CUDA; the one for the CPU is in PyTorch's own index. It is installed first and alone: from two
# indexes pip would take whichever has the newer version.
COPY --from=tools /torch.txt /trtserve.txt /requirements/
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --index-url "$TORCH_INDEX" -r /requirements/torch.txt \
 && if test -e /opt/trtserve/lib/python3*/site-packages/torch/lib/libtorch_cuda.so; then \
      echo "error: the torch of $TORCH_INDEX contains CUDA. Name an index of torch for the CPU: --build-arg TORCH_INDEX=…" >&2; \
      exit 1; fi
RUN pip install -r /requirements/trtserve.txt 'cmake>=3.25' ninja
COPY . ./
RUN pip install --no-build-isolation --no-deps \
      --config-settings=cmake.define.TRTSERVE_DOWNLOAD_TENSORRT_HEADERS=OFF .
# A server needs torch's libraries and none of its modules (runtime_ext/torch_libraries.py), and of OpenVINO the CPU's
# plugin and the readers of ONNX and IR. Programs that import torch, such as `trtserve compile`, need an installation by
# pip instead.
RUN pip uninstall -y cmake grpcio-tools mpmath networkx ninja scikit-build-core sympy \
 && cd /opt/trtserve/lib/python3*/site-packages \
 && find torch -mindepth 1 -maxdepth 1 ! -name lib -exec rm -r {} + \
 && rm -r functorch torchgen openvino/include openvino/cmake openvino/libs/cache.json \
      openvino/libs/*intel_[gn]pu* openvino/libs/*_tensorflow* openvino/libs/*_pytorch* openvino/libs/*_paddle* \
      openvino/libs/*_jax* openvino/libs/*_gguf* \
 && find . -type d -name tests -prune -exec rm -r {} +
RUN pip uninstall -y setuptools pip \
 && /opt/sbom/bin/python deploy/image/sbom.py /opt/trtserve/lib/python3*/site-packages /debian.tsv \
      > /opt/trtserve/sbom.cdx.json \
 && install -m 644 deploy/image/healthcheck.py /opt/trtserve


FROM tools AS build-gpu
COPY --from=tools /trtserve.txt /tensorrt.txt /requirements/
RUN pip install -r /requirements/trtserve.txt 'cmake>=3.25' ninja
# This needs build isolation (trtserve itself is installed without): PyPI's package for TensorRT's libraries fetches
# them from NVIDIA's own index during its build, with a build backend that only this package declares.
RUN pip install -r /requirements/tensorrt.txt
# Installs the headers that the CUDA runtime's headers include but its package lacks, for the CUDA version of torch.
RUN cuda=$(python -c 'from importlib.metadata import version; print(version("nvidia-cuda-runtime"))') \
 && pip install "nvidia-cuda-crt==${cuda%.*}.*"
# Without the headers, the build leaves the backend out and still succeeds. This image is useless without the backend.
COPY . ./
RUN pip install --no-build-isolation '.[tensorrt,tracing]' \
 && test -f /opt/trtserve/lib/python3*/site-packages/runtime_ext/backends/libtrtserve_backend_tensorrt*.so \
 && pip uninstall -y scikit-build-core cmake ninja grpcio-tools
RUN pip uninstall -y setuptools pip \
 && /opt/sbom/bin/python deploy/image/sbom.py /opt/trtserve/lib/python3*/site-packages /debian.tsv \
      > /opt/trtserve/sbom.cdx.json \
 && install -m 644 deploy/image/healthcheck.py /opt/trtserve


FROM base AS server
# On all addresses the server starts only with TRTSERVE_TOKEN_FILE, TRTSERVE_TLS_CLIENT_CA or TRTSERVE_AUTH=off: whoever
# runs the image decides.
ENV PATH=/opt/trtserve/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TRTSERVE_HOST=0.0.0.0 \
    TRTSERVE_PORT=8000 \
    TRTSERVE_GRPC_PORT=8001 \
    TRTSERVE_STORE=/var/lib/trtserve
USER 10001:10001
WORKDIR /tmp
VOLUME /var/lib/trtserve
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["python", "/opt/trtserve/healthcheck.py"]
ENTRYPOINT ["trtserve"]
CMD ["serve"]


FROM server AS cpu
ENV RUNTIME_EXT_TORCH=libraries
COPY --from=build-cpu /opt/trtserve /opt/trtserve


# The last one: what `docker build` makes without --target.
FROM server AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-gpu /opt/trtserve /opt/trtserve
