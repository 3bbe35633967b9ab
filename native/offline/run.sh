#!/bin/sh
# Builds the package against the libtorch of this machine's Python, runs the C++ tests, compares the devices, and
# measures on the GPU where there is one. Needs CMake, a C++ compiler and a Python (PYTHON, else python3) with torch.
# What follows on the command line goes to the benchmark, in place of its sizes.
set -eu
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}
PATH="$PWD/node/bin:$PATH"
jobs=$(getconf _NPROCESSORS_ONLN)

ln -sfn "$("$PYTHON" -c 'import os, torch; print(os.path.dirname(torch.__file__))')" libtorch

cmake -S . -B build/native-tests -DSEG_SAM_TESTS=ON
cmake --build build/native-tests --parallel "$jobs"
ctest --test-dir build/native-tests --output-on-failure

headers="$PWD/node_modules/node-api-headers/include;$PWD/node_modules/node-addon-api"
cmake -S . -B build -DCMAKE_JS_INC="$headers" -DCMAKE_LIBRARY_OUTPUT_DIRECTORY="$PWD/build/Release"
cmake --build build --parallel "$jobs"

device=$(node native/offline/compare-devices.mjs)
[ $# -gt 0 ] || set -- --sizes tiny-256
BENCH_PYTHON="$PYTHON" node bench/dist/main.js --device "$device" "$@"
