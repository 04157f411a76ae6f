#!/bin/sh
# A job in the shell that tells greenrun where its epochs end, in both ways that need no Python in the job.
#
#     greenrun --epochs 4 sh examples/marks.sh
#
# Alone it works as well: outside greenrun both ways do nothing.
set -eu

chunk=$(mktemp)
trap 'rm -f "$chunk"' EXIT

work() {
    head -c 20000000 /dev/urandom >"$chunk"
    gzip -9 -c "$chunk" | sha256sum
}

# 1. By the verb, where greenrun is installed in the job's environment.
for epoch in 1 2; do
    work
    if command -v greenrun >/dev/null; then greenrun mark epoch "$epoch" --of 4; fi
done

# 2. By a line in a file, where it is not (a container that mounts the run directory): "epoch NUMBER OF".
for epoch in 3 4; do
    work
    if [ -n "${GREENRUN_MARKS-}" ]; then echo "epoch $epoch 4" >>"$GREENRUN_MARKS"; fi
done
