#!/bin/sh
# Starts the model server with threads and memory that follow the machine.
cores=$(nproc)
# libuv's threads decode the pictures: one for each core, and at least four.
export UV_THREADPOOL_SIZE="${UV_THREADPOOL_SIZE:-$((cores > 4 ? cores : 4))}"
# Two glibc arenas keep memory low when there are few threads. Many threads would block each other in two arenas.
if [ "$cores" -le 4 ]; then export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-2}"; fi
# V8 gives each thread a space of this size for new objects. A larger one takes memory and saves no CPU.
exec node --max-semi-space-size=4 model/src/main.ts "$@"
