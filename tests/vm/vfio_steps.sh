# shellcheck shell=bash
# What scripts about devices behind VFIO share. Wants CORELANE (the program, as the guest sees it).
# shellcheck source-path=SCRIPTDIR source=steps.sh
. ./steps.sh

: "${CORELANE:?}"
# The shared folder is slow, and closed to others than root.
install -m 755 "$CORELANE" "$work/corelane"
CORELANE=$work/corelane
if [[ -n ${TEST:-} ]]; then
  install -m 755 "$TEST" "$work/test"
  TEST=$work/test
fi
isolation=/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts

# Prints the PCI address of the controller with a serial number: address_of SERIAL
address_of() {
  local at
  for at in /sys/class/nvme/nvme*; do
    if [[ $(tr -d ' ' < "$at/serial") == "$1" ]]; then
      cat "$at/address"
      return
    fi
  done
  fail "there is a controller $1"
}

# Writes a configuration with bdevs given as JSON objects, each the namespace of its place in the list: configure JSON ...
configure() {
  local bdev namespaces="" bdevs="" nsid=0
  for bdev in "$@"; do
    nsid=$((nsid + 1))
    bdevs+="${bdevs:+,}${bdev/\{/\{\"name\": \"disk$nsid\", }"
    namespaces+="${namespaces:+,}{\"nsid\": $nsid, \"bdev\": \"disk$nsid\"}"
  done
  cat > "$work/corelane.json" << JSON
{
  "memory": {"bytes_per_reactor": "16MiB"},
  "limits": {"connections_max": 8},
  "bdevs": [$bdevs],
  "subsystems": [{
    "nqn": "$nqn", "serial": "CL0001", "allow_any_host": true,
    "listeners": [{"address": "127.0.0.1", "port": 4420}],
    "namespaces": [$namespaces]
  }]
}
JSON
}

nqn=nqn.2026-11.io.corelane:local

# Starts the target with the configuration, in the background; its process is in $work/target.
start_target() {
  : > "$work/served" # what another one said is gone before this one is asked
  "$CORELANE" serve --config "$work/corelane.json" --state-dir "$work/state" > "$work/served" 2>&1 < /dev/null &
  echo $! > "$work/target"
  until_true 60 "the target listens; it says: $(cat "$work/served")" target_listens
}

target_listens() {
  kill -0 "$(cat "$work/target")" || fail "the target runs, but it said: $(cat "$work/served")"
  # Not a connection: the kernel takes one before the target has said what it serves.
  grep -q '^connect with' "$work/served"
}

target_runs() { [[ -d /proc/$(cat "$work/target") && $(awk '/^State/ {print $2}' "/proc/$(cat "$work/target")/status") != Z ]]; }
target_ended() { ! target_runs; }

# Has the target finish; it must say so itself.
stop_target() {
  kill -TERM "$(cat "$work/target")"
  until_true 60 "the target ends" target_ended
  holds "what the target says" "$(cat "$work/served")" "stopped"
}

# Prints the block device of a namespace of the target, or nothing: disk_of NSID
disk_of() {
  local at
  for at in /sys/block/nvme*n*; do
    [[ -e $at/nsid && $(basename "$at") =~ ^nvme[0-9]+n[0-9]+$ ]] || continue
    if [[ $(cat "$at/device/subsysnqn") == "$nqn" && $(< "$at/nsid") == "$1" ]]; then
      echo "/dev/$(basename "$at")"
      return
    fi
  done
}

disk_is_there() { [[ -b $(disk_of "$1") ]]; }

connect() {
  nvme connect -t tcp -a 127.0.0.1 -s 4420 -n $nqn --nr-io-queues=2
  until_true 30 "namespace 1 appears" disk_is_there 1
}

# Runs a test of the program TEST on the device at an address: guest_test ADDRESS NAME
guest_test() {
  CORELANE_GUEST_ADDRESS=$1 "$TEST" --exact --nocapture "$2" > "$work/said" 2>&1 || { cat "$work/said"; return 1; }
  holds "what $2 says" "$(cat "$work/said")" "^tested on $1"
  holds "what $2 says" "$(cat "$work/said")" '^test result: ok. 1 passed'
  # Figures are for the reader of the whole.
  grep -E 'per command' "$work/said" >> "$work/figures" || true
}
