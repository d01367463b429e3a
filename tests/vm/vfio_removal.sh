#!/bin/bash
# PCI NVMe devices are taken away under load: by the kernel, which asks for them, and without a word.
#
# Wants to be told: CORELANE, TEST (the program, and the tests for the guest). The machine needs controllers PULL0 to PULL3, each
# in a slot of its own, and must pull `pullN` out when a file of that name appears in the shared folder.
# shellcheck source-path=SCRIPTDIR source=vfio_steps.sh
. ./vfio_steps.sh

: "${TEST:?}"

bind() {
  local number
  echo Y > $isolation
  for number in 0 1 2 3; do
    address_of PULL$number > "$work/address$number"
  done
  for number in 0 1 2 3; do
    "$CORELANE" setup bind "$(cat "$work/address$number")"
  done
}

# Whether a function is still on the bus: there NUMBER
there() { [[ -e /sys/bus/pci/devices/$(cat "$work/address$1") ]]; }
away() { ! there "$1"; }

quietly() {
  LOADED=/mnt/pull0 guest_test "$(cat "$work/address0")" device::a_device_that_is_taken_away_goes_quietly
  until_true 30 "the kernel has let the device go" away 0
}

under_load() {
  LOADED=/mnt/pull1 guest_test "$(cat "$work/address1")" driver::a_device_that_vanishes_ends_every_command
  until_true 30 "the kernel has let the device go" away 1
}

# Byte, or two, of the configuration space of a function: config FUNCTION OFFSET [BYTES]
config() { od -An -tu"${3:-1}" -j "$2" -N "${3:-1}" "/sys/bus/pci/devices/$1/config" | tr -d ' '; }

# Cuts the power of a slot, which nobody was told of: cut PORT
cut_power() {
  local at control
  at=$(config "$1" 52)
  until (($(config "$1" "$at") == 16)); do
    at=$(config "$1" $((at + 1)))
    ((at > 0)) || fail "$1 is a port"
  done
  control=$(($(config "$1" $((at + 24)) 2) | 0x700))
  printf "\\x$(printf %x $((control & 255)))\\x$(printf %x $((control >> 8)))" \
    | dd of="/sys/bus/pci/devices/$1/config" bs=1 seek=$((at + 24)) conv=notrunc status=none
}

suddenly() {
  local address port pid
  address=$(cat "$work/address2")
  port=$(basename "$(dirname "$(readlink "/sys/bus/pci/devices/$address")")")
  LOADED=$work/loaded guest_test "$address" driver::a_device_that_vanishes_ends_every_command &
  pid=$!
  until_true 60 "the load runs" test -e "$work/loaded"
  cut_power "$port"
  wait $pid
}

appliance() {
  local remote healthy
  configure "{\"type\": \"nvme\", \"address\": \"$(cat "$work/address3")\"}" '{"type": "malloc", "size": "64MiB"}'
  start_target
  connect
  until_true 30 "namespace 2 appears" disk_is_there 2
  remote=$(disk_of 1)
  healthy=$(disk_of 2)
  fio --name=load --filename="$remote" --direct=1 --ioengine=libaio --iodepth=32 --rw=randrw --bs=4k --size=64M \
    --time_based --runtime=120 > "$work/load" 2>&1 &
  sleep 3
  target_runs
  touch /mnt/pull3
  if wait $!; then fail "I/O on a device that was pulled out fails"; fi
  holds "what fio says" "$(cat "$work/load")" 'Input/output error|Invalid|No such device|Remote I/O'
  until_true 30 "the kernel has let the device go" away 3
  refuses "reading what is gone" 'error' dd if="$remote" of=/dev/null bs=4k count=1 iflag=direct
  # The others do not notice.
  target_runs
  fio --name=verify --filename="$healthy" --direct=1 --ioengine=libaio --iodepth=32 --rw=randwrite --bs=4k --size=16M \
    --verify=crc32c --verify_fatal=1 > "$work/fio" || { cat "$work/fio"; return 1; }
  holds "what the target says" "$(cat "$work/served")" 'the device is taken away'
  nvme disconnect -n $nqn
  stop_target
}

step "devices are bound" bind
step "a device that is asked for goes quietly" quietly
step "the driver ends every command" under_load
step "an appliance loses a device and serves the others" appliance
step "the driver ends every command of a device that is cut off" suddenly
