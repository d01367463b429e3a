#!/bin/bash
# A Linux host with two paths to a namespace, whose states change while a file system is in use. Runs in the guest, as root.
#
# Told by the environment:
#   ADDRESS, PORT, PORT2   two listeners of one subsystem with asymmetric access
#   NQN                    its name; namespace 1 (4,096-byte blocks, at least 64 MiB, keeps its data) and namespace 2
#
# To have something changed it makes a file /mnt/NAME, and waits for /mnt/NAME.done:
#   referred      discovery tells of the service at 192.0.2.1, port 8009, too; with the next change no longer
#   first-down    the first listener does not reach group 1; the second is not optimized
#   first-up      the first listener is optimized, and the second does not reach group 1
#   masked        both are optimized, and this host has no namespace 2
#   unmasked      it has
#   added         there is a namespace 3
#   removed       there is none
#   cut           the way to the second listener is cut: connections end, and others are refused
#   mended        it is there again
#   killed        the target was killed, and runs again
set -uo pipefail
# shellcheck source=tests/vm/steps.sh
. "$(dirname "$0")/steps.sh"

: "${ADDRESS:?}" "${PORT:?}" "${PORT2:?}" "${NQN:?}"
disk=$work/disk
seconds=20 # of load at a time: again and again until the changes are over

# Prints the block device of a namespace, or nothing: namespace NSID
namespace() {
  local at
  for at in /sys/block/nvme*n*; do
    [[ -e $at/nsid && $(basename "$at") =~ ^nvme[0-9]+n[0-9]+$ ]] || continue
    [[ $(< "$at/nsid") == "$1" ]] && echo "/dev/$(basename "$at")" && return
  done
}

present() { [[ -b $(namespace "$1") ]]; }
absent() { ! present "$1"; }

# Prints the state of namespace 1 on the path by this port: state PORT
state() {
  local at head
  head=$(namespace 1) # the kernel's numbers of namespaces need not be their NSIDs
  for at in /sys/class/nvme/nvme*; do
    [[ $(< "$at/address") == *"trsvcid=$1"* ]] || continue
    cat "$at"/nvme*c*n"${head##*n}"/ana_state
  done
}
is() { [[ $(state "$1") == "$2" ]]; }

change() {
  touch "/mnt/$1"
  until_true 60 "the change $1" test -e "/mnt/$1.done"
}

connect() {
  local port
  for port in "$PORT" "$PORT2"; do
    nvme connect -t tcp -a "$ADDRESS" -s "$port" -n "$NQN" --nr-io-queues=2 --reconnect-delay=1
  done
  until_true 20 "namespace 1 appears" present 1
  until_true 20 "namespace 2 appears" present 2
  until_true 20 "a first path that is optimized" is "$PORT" optimized
  until_true 20 "a second path that is optimized" is "$PORT2" optimized
  equal "the number of paths" "$(nvme list-subsys | grep -c 'tcp .* live')" 2
  holds "the ANA log" "$(nvme ana-log /dev/nvme0)" '^nnsids *: *[12]'
  nvme id-ctrl -H /dev/nvme0 > "$work/identify"
  holds "id-ctrl -H" "$(< "$work/identify")" 'ANA supported'
}

# A discovery controller that stays is told when what it knows is old.
refer() {
  local name=nqn.2014-08.org.nvmexpress.discovery events
  nvme discover -t tcp -a "$ADDRESS" -s "$PORT" --persistent --keep-alive-tmo=10 > "$work/discovery"
  if grep 192.0.2.1 "$work/discovery"; then fail "no referral yet"; fi
  # A program of its own: what busybox's env prints is lost with the process.
  busybox uevent /usr/bin/env > "$work/events" &
  events=$!
  until_true 10 "somebody who listens to the kernel's events" grep -qE "^[0-9a-f]+ +15 +$events " /proc/net/netlink
  change referred
  # Asynchronous event: a notice (2h), Discovery Log Page Change (F0h), of log page 70h.
  until_true 30 "an event of the discovery controller" grep -q '^NVME_AEN=0x70f002$' "$work/events"
  kill $events
  nvme discover -t tcp -a "$ADDRESS" -s "$PORT" > "$work/discovery"
  holds "the discovery log" "$(< "$work/discovery")" '^subtype: +discovery subsystem referral'
  holds "the discovery log" "$(< "$work/discovery")" '^traddr: +192.0.2.1'
  holds "what nvme disconnect says" "$(nvme disconnect -n $name)" 'disconnected 1 controller'
}

make_file_system() {
  mkfs.ext4 -q -b 4096 "$(namespace 1)"
  mkdir "$disk"
  mount "$(namespace 1)" "$disk"
}

# Until the file `enough` is there, or something is wrong.
load() {
  until [[ -e $work/enough ]]; do
    load_once || return
  done
}

load_once() {
  fio --name=load --directory="$disk" --size=16M --bs=4k --iodepth=16 --rw=randrw --ioengine=libaio --direct=1 \
    --verify=crc32c --verify_fatal=1 --verify_backlog=64 --verify_dump=0 --time_based --runtime=$seconds --minimal
}

fail_over() {
  change first-down
  until_true 30 "a first path that is inaccessible" is "$PORT" inaccessible
  until_true 30 "a second path that is not optimized" is "$PORT2" non-optimized
  sleep 3
  change first-up
  until_true 30 "a first path that is optimized again" is "$PORT" optimized
  until_true 30 "a second path that is inaccessible" is "$PORT2" inaccessible
  sleep 3
}

mask() {
  change masked
  until_true 30 "that namespace 2 disappears" absent 2
  until_true 30 "a second path that is optimized again" is "$PORT2" optimized
  change unmasked
  until_true 30 "namespace 2 again" present 2
}

add_and_remove() {
  change added
  until_true 30 "namespace 3" present 3
  dd if=/dev/urandom of="$work/data" bs=4096 count=64
  dd if="$work/data" of="$(namespace 3)" bs=4096 oflag=direct
  dd if="$(namespace 3)" of="$work/back" bs=4096 count=64 iflag=direct
  cmp "$work/data" "$work/back"
  change removed
  until_true 30 "that namespace 3 disappears" absent 3
}

# Prints the state of the controller on the path by this port: controller_state PORT
controller_state() {
  local at
  for at in /sys/class/nvme/nvme*; do
    [[ $(< "$at/address") == *"trsvcid=$1"* ]] && cat "$at/state" && return
  done
}
controller_is() { [[ $(controller_state "$1") == "$2" ]]; }

# Both paths carry commands; those of the second are lost with it, and tried again on the first.
lose_a_path() {
  local at
  for at in /sys/class/nvme-subsystem/nvme-subsys*; do echo round-robin > "$at/iopolicy"; done
  sleep 2
  change cut
  until_true 30 "a second controller that is not live" controller_is "$PORT2" connecting
  nvme list-subsys
  sleep 3
  change mended
  until_true 60 "a second controller that is live again" controller_is "$PORT2" live
  until_true 30 "a second path that is optimized again" is "$PORT2" optimized
  sleep 2
}

# The host itself takes a path away, and makes it again.
take_a_path_away() {
  local at
  for at in /sys/class/nvme/nvme*; do
    [[ $(< "$at/address") == *"trsvcid=$PORT2"* ]] || continue
    nvme disconnect -d "$(basename "$at")"
    break
  done
  equal "the number of paths" "$(nvme list-subsys | grep -c 'tcp .* live')" 1
  sleep 2
  nvme connect -t tcp -a "$ADDRESS" -s "$PORT2" -n "$NQN" --nr-io-queues=2 --reconnect-delay=1
  until_true 20 "a second path that is optimized once more" is "$PORT2" optimized
}

# Times that the kernel has found a controller again.
reconnections() { dmesg | grep -c 'Successfully reconnected'; }
reconnected() { (($(reconnections) >= $1)); }

# Both paths at once: what was not answered waits for one of them, and is sent again.
lose_the_target() {
  local before
  before=$(reconnections || true)
  change killed
  # The host notices by itself, and tries again each second.
  until_true 60 "both controllers have come back" reconnected $((before + 2))
  until_true 60 "a first controller that is live again" controller_is "$PORT" live
  until_true 60 "a second controller that is live again" controller_is "$PORT2" live
  until_true 30 "a first path that is optimized after all" is "$PORT" optimized
  until_true 30 "namespace 2 after all" present 2
  sleep 2
}

under_load() {
  load &
  sleep 2
  fail_over
  mask
  add_and_remove
  lose_a_path
  take_a_path_away
  lose_the_target
  kill -0 $! || fail "a load without an error"
  touch "$work/enough"
  wait $! || fail "a load without an error"
  umount "$disk"
  fsck.ext4 -f -n "$(namespace 1)" || fail "a clean file system"
}

disconnect() {
  holds "what nvme disconnect says" "$(nvme disconnect -n "$NQN")" 'disconnected 2 controller'
}

# "No usable path - requeuing I/O" is none: where the states of both paths change at once, the host hears of it by a command that
# comes back, and holds what it has until it has read the log.
silent_kernel() {
  local complaints
  complaints=$(dmesg | grep -E 'I/O error|blk_update_request|critical .* error|no available path|failing I/O|hung task|Buffer I/O|'"$kernel_fault" || true)
  [[ -z $complaints ]] || fail "no complaint of the kernel, but it says:" $'\n'"$complaints"
}

step "connect by two paths" connect
step "hear of a referral" refer
step "make a file system" make_file_system
step "fail over, mask, add, remove, cut, kill under load" under_load
step "disconnect" disconnect
step "silent kernel" silent_kernel
