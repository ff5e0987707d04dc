#!/usr/bin/env bash
# For a GPU machine without a network: collects what tests/gpu/verify.sh needs there beside torch. Run it where there is
# a network and an environment (`make build`), bring the folder there, and name it in CARRIED.
#
#   tests/gpu/carry.sh FOLDER [PYTHON_VERSION]     the version of the Python there; default: 3.12
#
# FOLDER/wheels gets the service's dependencies and compute-sanitizer, FOLDER/protocol the messages of protobuf, which
# need the protobuf of the grpcio-tools that generated them, or a newer one.
set -euo pipefail
cd "$(dirname "$0")/../.."
to=${1:?usage: tests/gpu/carry.sh FOLDER [PYTHON_VERSION]}
version=${2:-3.12}
python=${PYTHON:-.venv/bin/python}
mkdir -p "$to/wheels" "$to/protocol"

# numpy and prometheus-client are there, as torch is.
"$python" - >"$to/requirements.txt" <<'P'
import re, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
there = {"torch", "openvino", "numpy", "prometheus-client"}
print(*(asked for asked in project["dependencies"] if re.match(r"[\w.-]+", asked)[0] not in there), sep="\n")
print("nvidia-cuda-sanitizer-api>=13,<14")  # compute-sanitizer
P
# The index has no wheel of this one, which is pure Python.
"$python" -m pip wheel -qq --disable-pip-version-check --no-deps -w "$to/wheels" "$(grep '^sdnotify' "$to/requirements.txt")"
"$python" -m pip download -qq --find-links "$to/wheels" --disable-pip-version-check --python-version "$version" --only-binary=:all: \
  --platform manylinux2014_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux_2_28_x86_64 -d "$to/wheels" -r "$to/requirements.txt"

for name in folder/model_config rpc/model_config rpc/open_inference; do
  "$python" -m grpc_tools.protoc --proto_path=trtserve=service --python_out="$to/protocol" "trtserve/$name.proto"
done
du -sh "$to"
