#!/bin/sh
# Starts the model server with threads and memory that follow the machine.
cores=$(nproc)
# Pictures are decoded by libuv's threads: four of them, unless there are more cores.
export UV_THREADPOOL_SIZE="${UV_THREADPOOL_SIZE:-$((cores > 4 ? cores : 4))}"
# With few threads, two of glibc's arenas keep memory lower and flat; with many, they would wait for each other.
if [ "$cores" -le 4 ]; then export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-2}"; fi
exec node model/src/main.ts "$@"
