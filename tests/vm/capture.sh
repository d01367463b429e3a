#!/bin/bash
# Records what the kernel's NVMe/TCP host and the kernel's target say to each other, both in this guest, into /mnt/golden:
#   rm -rf /tmp/capture && CORELANE_VM_WORK=/tmp/capture tests/vm/vm tests/vm/capture.sh
#   cp /tmp/capture/golden/*.pdus src/pdu/golden/
set -uo pipefail
# shellcheck source=tests/vm/steps.sh
. "$(dirname "$0")/steps.sh"
# shellcheck source=tests/vm/kernel_target.sh
. "$(dirname "$0")/kernel_target.sh"

nqn=nqn.2026-11.io.corelane:golden
host=(--hostnqn=nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555
  --hostid=11111111-2222-4333-8444-555555555555)
golden=/mnt/golden
python=/usr/bin/python3 # Debian's own

serve() {
  null_device golden size=16 blocksize=4096 memory_backed=1 discard=1
  subsystem $nqn CL0001 Corelane
  namespace $nqn 1 /dev/golden 6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11
  listen 127.0.0.1 4420 $nqn
  mkdir -p $golden
}

# Runs a function while everything that passes through port 4421 is recorded: record NAME FUNCTION [ARGUMENT ...]
record() {
  local name=$1 recorder
  shift
  : > "$work/recorder"
  "$python" "$(dirname "$0")/record.py" 4421 4420 $golden "$name" > "$work/recorder" &
  recorder=$!
  until grep -q recording "$work/recorder"; do
    kill -0 $recorder || fail "a recorder"
    sleep 0.1
  done
  "$@"
  kill $recorder
}

discover() {
  nvme discover -t tcp -a 127.0.0.1 -s 4421 "${host[@]}" "$@"
}

# Every run of 512 bytes has a value of its own, so that bytes in a wrong place are noticed.
pattern() {
  "$python" -c 'import sys; sys.stdout.buffer.write(b"".join(bytes([1 + i]) * 512 for i in range(int(sys.argv[1]) // 512)))' "$1"
}

# One session: read and write in and out of the capsule, the other commands, keep alive, shutdown.
session() {
  local device=/dev/nvme0n1
  nvme connect -t tcp -a 127.0.0.1 -s 4421 -n $nqn --nr-io-queues=1 --keep-alive-tmo=2 "${host[@]}" "$@"
  until [[ -b $device ]]; do sleep 0.1; done
  udevadm settle 2> /dev/null || true
  pattern 4096 > "$work/small"
  pattern 65536 > "$work/large"
  nvme write $device -s 16 -c 0 -z 4096 -d "$work/small"
  rm -f "$work/back" # nvme-cli overwrites, but does not shorten
  nvme read $device -s 16 -c 0 -z 4096 -d "$work/back"
  cmp "$work/small" "$work/back"
  nvme write $device -s 32 -c 15 -z 65536 -d "$work/large"
  nvme read $device -s 32 -c 15 -z 65536 -d "$work/back"
  cmp "$work/large" "$work/back"
  nvme flush $device -n 1
  nvme write-zeroes $device -s 32 -c 7
  nvme dsm $device --ad -s 40,44 -b 2,3
  refuses "a read past the end" '^NVMe status' nvme read $device -s 4095 -c 1 -z 8192 -d "$work/back"
  sleep 3 # more than the keep alive time-out
  nvme disconnect -n $nqn
}

step "serve" serve
step "discovery" record discovery discover
step "discovery with digests" record discovery-digests discover --hdr-digest --data-digest
step "session" record session session
step "session with digests" record session-digests session --hdr-digest --data-digest
step "session with header digests" record session-header-digests session --hdr-digest
for name in "$golden"/session*-1.pdus; do mv "$name" "${name/session/admin}"; done
for name in "$golden"/session*-2.pdus; do mv "$name" "${name/session/io}"; done
for name in "$golden"/*-[12].pdus; do mv "$name" "${name%-?.pdus}.pdus"; done
wc $golden/*
