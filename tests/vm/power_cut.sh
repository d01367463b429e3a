#!/bin/bash
# Guest script: a target that keeps its state on /dev/vda, a disk that outlives the guest. It serves until the power is cut,
# which the guest does not notice, or until the file /mnt/stop is there. tests/power_cut.rs runs it, again and again on one disk.
#
# BINARY: the program, where the machine has it; FRESH: 1 for a disk that was never used.
# In /mnt: corelane.json; output and errors are what the target says.
set -euo pipefail

# The guest's /tmp hides the machine's, where the program may be.
mkdir /run/machine /run/disk
mount --bind / /run/machine
corelane=/run/machine$BINARY

((FRESH == 0)) || mkfs.ext4 -q /dev/vda
mount -t ext4 /dev/vda /run/disk
# Else the disk would count what it was only given as safe, and a missing fsync would go unnoticed.
cache=$(cat /sys/block/vda/queue/write_cache)
[[ $cache == "write back" ]] || {
  echo "the disk has to have a cache that is flushed, and says: $cache"
  exit 1
}
((FRESH == 1)) || "$corelane" reservation verify --state-dir /run/disk/state

"$corelane" --log-level warn serve --config /mnt/corelane.json --state-dir /run/disk/state > /mnt/output 2> /mnt/errors &
target=$!
until [[ -e /mnt/stop ]]; do
  kill -0 "$target" || {
    echo "the target has ended: $(cat /mnt/errors)"
    exit 1
  }
  sleep 0.1
done
kill -TERM "$target"
wait "$target"
umount /run/disk
