#!/usr/bin/env bash
# Build the project's C++ with a sanitizer and run the tests of the compiled extension under it. torch,
# OpenVINO and Python are not instrumented: docs/verification.md explains the consequences.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:-}
case $kind in
  asan)
    sanitize=address,undefined
    tests=(tests/seam --ignore=tests/seam/backends/openvino/test_hostile_values.py) # see below
    # No leak detection: Python and torch keep much memory until the process ends, by design.
    export ASAN_OPTIONS=detect_leaks=0:strict_string_checks=1:allocator_may_return_null=1:detect_stack_use_after_return=1:verify_asan_link_order=0
    export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
    ;;
  tsan)
    sanitize=thread
    # Only an instrumented build of OpenVINO would show how its threads synchronize.
    tests=(tests/seam --ignore=tests/seam/backends/openvino)
    export TSAN_OPTIONS=halt_on_error=1:allocator_may_return_null=1:second_deadlock_stack=1:ignore_noninstrumented_modules=1
    ;;
  *)
    echo "usage: tests/sanitizers.sh asan|tsan [pytest arguments]" >&2
    exit 2
    ;;
esac
shift
build=build/$kind
mkdir -p "$build"

python=$PWD/.venv/bin/python
site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')

echo "== building into $build with -fsanitize=$sanitize (minutes at first, then seconds)"
cmake -S runtime_ext -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="-O1 -g1" -DPython_EXECUTABLE="$python" \
  -DTRTSERVE_SANITIZE=$sanitize -DTRTSERVE_TEST_BACKENDS=ON >"$build.log" 2>&1 || { cat "$build.log" >&2; exit 1; }
cmake --build "$build" >>"$build.log" 2>&1 || { tail -50 "$build.log" >&2; exit 1; }
rm -rf "$build/installed/trtserve" # a link to the sources since the last run: nothing is to be installed there
cmake --install "$build" --prefix "$build/installed" >>"$build.log"
rm -rf "$build/installed/trtserve" # the messages of gRPC, which no test here needs
ln -s "$PWD/service" "$build/installed/trtserve"
(cd runtime_ext && find . -name '*.py' -exec cp --parents {} "../$build/installed/runtime_ext" \;)

g++ -shared -fPIC -o "$build/no_deepbind.so" tests/fakes/no_deepbind.cpp

# These limit their processes' address space, but a sanitizer needs terabytes.
tests+=(--ignore=tests/seam/backends/torchscript/test_short_memory.py)

# A sanitizer's allocator takes the place of the heap whose growth these tests measure: mallinfo2() sees none of it.
for test in test_an_engine_on_the_cpu_takes_what_the_heap_grew_by \
  test_engines_that_are_loaded_at_the_same_time_do_not_count_each_others_memory \
  test_engines_that_go_during_a_load_do_not_make_what_it_took_look_smaller; do
  tests+=(--deselect "tests/seam/core/test_memory.py::$test")
done
# A sanitizer reports the crash that this test causes, so the process ends with another exit code.
tests+=(--deselect tests/seam/compiler/test_compile_tensorrt.py::test_a_builder_that_crashes_ends_only_its_own_process)

echo "== tests under $sanitize"
# -P and -S hide the sources and the editable install; the import comes first so that this build is tested. A
# sanitizer's report ends the process, so output must not be captured.
LD_PRELOAD="$PWD/$build/no_deepbind.so $(g++ -print-file-name=lib$kind.so) $(g++ -print-file-name=libstdc++.so)" \
  PYTHONPATH="$build/installed:$site" \
  "$python" -P -S -c 'import sys, runtime_ext, pytest; sys.exit(pytest.main(sys.argv[1:]))' \
  --capture=sys "${tests[@]}" "$@"
