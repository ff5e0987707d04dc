#!/usr/bin/env bash
# All that needs a GPU, from a fresh tree, on a machine with TensorRT:
#
#   tests/gpu/verify.sh [STEP...]
#
#   build      compiles the extension into build/gpu, unless it is installed
#   tests      tests/gpu, which fail if anything that they need is missing
#   memcheck   some of them under compute-sanitizer, which finds wrong accesses to device memory
#   racecheck  one of them under compute-sanitizer, which finds races in the shared memory of kernels
#   bench      the figures: python -m bench.gpu
#
# Without STEP: all, in this order. A step ends after ten minutes at most. Later calls use what earlier ones built, so
# each step can be a call of its own. The results go to the end of OUT/verification.md and logs beside it. Fails if a
# step failed or could not run.
#
# From the environment, all optional:
#   PYTHON                  default: .venv/bin/python, else python3; it needs torch with CUDA, pytest, onnx, torchvision
#   CARRIED                 a folder made by tests/gpu/carry.sh, for a machine without a network
#   TENSORRT_INCLUDE_DIR, CUDA_INCLUDE_DIR    headers, as for the build
#   LD_LIBRARY_PATH         where TensorRT's library is, unless it is a package
#   BENCH                   arguments of bench, such as --plan /tmp/resnet50.plan
#   OUT                     default: build/gpu/report
set -uo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
build=$root/build/gpu
out=${OUT:-$build/report}
python=${PYTHON:-.venv/bin/python}
python=$(command -v "$python" || command -v python3)
[ "${python:0:1}" = / ] || python=$root/$python
mkdir -p "$build" "$out"

# Neither the tree nor the working folder may be on Python's path: the tree's runtime_ext has no compiled part.
export PYTHONSAFEPATH=1 REQUIRE_GPU=1
outside=${PYTHONPATH:-}
export PYTHONPATH=$build/path:$build/installed:$build/packages${outside:+:$outside}

# The plans that the tests build are kept: under the sanitizer a build would time thousands of kernels.
export GPU_PLANS=${GPU_PLANS:-$build/plans}
# Under the sanitizer an execution takes a hundred times as long.
RACED=${RACED:-two_outputs}

run_pytest() { # runtime_ext is imported before pytest puts the tree on the path
  "$@" -c 'import sys, runtime_ext, pytest; sys.exit(pytest.main(sys.argv[1:]))' -p no:cacheprovider -s "${pytest[@]}"
}

step_build() {
  mkdir -p "$build/path"
  ln -sfn "$root/tests" "$build/path/tests"
  ln -sfn "$root/bench" "$build/path/bench"
  if PYTHONPATH=$outside "$python" -c 'import runtime_ext.backends' 2>/dev/null; then
    echo "the extension is installed"
    return
  fi
  local options=()
  if [ -n "${CARRIED:-}" ]; then
    "$python" -m pip install -qq --no-index --find-links "$CARRIED/wheels" --no-warn-conflicts --upgrade \
      --target "$build/packages" -r "$CARRIED/requirements.txt" || return 1
    options+=("-DTRTSERVE_PROTOCOL_DIR=$CARRIED/protocol")
  fi
  [ -z "${CUDA_INCLUDE_DIR:-}" ] || options+=("-DCUDA_INCLUDE_DIR=$CUDA_INCLUDE_DIR")
  cmake -S runtime_ext -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DTRTSERVE_TEST_BACKENDS=ON \
    -DPython_EXECUTABLE="$python" "${options[@]}" &&
    cmake --build "$build" && cmake --install "$build" --prefix "$build/installed" || return 1
  (cd service && find . -name '*.py' -exec cp --parents {} "$build/installed/trtserve" \;)
  (cd runtime_ext && find . -name '*.py' -exec cp --parents {} "$build/installed/runtime_ext" \;)
  "$python" -c 'from runtime_ext.backends import built_backends as b; print("backends:", *b())'
}

step_tests() {
  local pytest=(tests/gpu -q)
  run_pytest "$python"
}

sanitizer() {
  local found site
  site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
  for found in "$(command -v compute-sanitizer)" "${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer" \
    "$site"/nvidia/cu*/bin/compute-sanitizer "$site"/nvidia/*/compute-sanitizer/compute-sanitizer \
    "$build"/packages/nvidia/*/bin/compute-sanitizer; do
    if [ -x "$found" ]; then echo "$found" && return; fi
  done
  echo "compute-sanitizer is missing: it is in the CUDA toolkit (CUDA_HOME) and in the package nvidia-cuda-sanitizer-api" >&2
  return 1
}

sanitized() { # TOOL PYTEST-ARGUMENT...
  local found tool=$1 pytest=(-q "${@:2}")
  found=$(sanitizer) || return 127
  # Its own exit code tells a report from a failed test. torch's allocator would hide neighbours' memory.
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 run_pytest "$found" --tool "$tool" --error-exitcode 99 --target-processes all "$python"
}

step_memcheck() { sanitized memcheck tests/gpu -m sanitizer; }
step_racecheck() { sanitized racecheck tests/gpu/test_plans_of_8.py -k "$RACED"; }

step_bench() { "$python" -m bench.gpu --out "$out" ${BENCH:-}; }

run_step() { # NAME
  local log=$out/$1.log began=$SECONDS code result
  echo "== $1"
  # A shell of its own, which timeout can end with all that it started.
  timeout --kill-after=10 "${LIMIT:-580}" "$root/tests/gpu/verify.sh" --inside "$1" >"$log" 2>&1
  code=$?
  case $code in
    0) result=passed ;;
    99) result="**failed**: the sanitizer reported errors" ;;
    124 | 137) result="**not done** within ${LIMIT:-580} s" ;;
    127) result="**not run**" ;;
    *) result="**failed** with exit code $code" ;;
  esac
  echo "   $result"
  [ $code = 0 ] || tail -20 "$log"
  {
    printf '\n## %s\n\n%s, %d s\n\n```\n' "$1" "$result" $((SECONDS - began))
    tail -30 "$log"
    printf '```\n'
  } >>"$out/verification.md"
  return $code
}

facts() {
  printf '# Verified on a GPU, %s\n\n```\n' "$(date -u +%F)"
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>&1
  "$python" -c 'import platform, torch; print("Python", platform.python_version(), "torch", torch.__version__)'
  g++ --version | head -1
  printf '```\n'
}

if [ "${1:-}" = --inside ]; then
  "step_$2"
  exit
fi
steps=("$@")
[ $# -gt 0 ] || steps=(build tests memcheck racecheck bench)
for step in "${steps[@]}"; do
  declare -F "step_$step" >/dev/null || { sed -n '2,/^set/s/^# \{0,1\}//p' tests/gpu/verify.sh >&2; exit 2; }
done
[ -s "$out/verification.md" ] || facts >"$out/verification.md"
failed=0
for step in "${steps[@]}"; do run_step "$step" || failed=1; done
echo "report: $out/verification.md"
exit $failed
