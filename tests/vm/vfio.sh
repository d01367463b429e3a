#!/bin/bash
# A PCI NVMe device is driven from user space: what is refused and why, the driver under load, and a target that serves it to
# a Linux host, which makes a file system; then the kernel has the device back, with the host's files.
#
# Wants to be told: CORELANE, TEST (the program, and the tests for the guest), NVME_READ (the example), UNIT (unit tests);
# CORELANE_FIO (fio's engine) may be left out. The machine needs
# CORELANE_VM_NVME, and controllers SUITE, EMPTY without namespaces, META with metadata, and TWIN0 and TWIN1 in one slot.
# shellcheck source-path=SCRIPTDIR source=vfio_steps.sh
. ./vfio_steps.sh

: "${TEST:?}" "${NVME_READ:?}" "${UNIT:?}"
install -m 755 "$UNIT" "$work/unit"
address=$(address_of EMULATED0)
group=$(basename "$(readlink "/sys/bus/pci/devices/$address/iommu_group")")
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
mkdir -p "$work/at"

nvme_bdev() { configure "{\"type\": \"nvme\", \"address\": \"$1\"${2:-}}"; }

# serve_refuses REGEX [COMMAND ...]: the target says why it does not start; the command runs it.
serve_refuses() {
  local regex=$1
  shift
  refuses "serve" "$regex" "$@" timeout 60 "$CORELANE" serve --config "$work/corelane.json" --state-dir "${state:-$work/refused}"
}

wrong_devices() {
  local network
  nvme_bdev 0000:00:1e.7
  serve_refuses 'there is no PCI function 0000:00:1e.7: .corelane setup status. lists'
  network=$(basename "$(dirname "$(grep -l '^0x020000' /sys/bus/pci/devices/*/class)")")
  nvme_bdev "$network"
  serve_refuses "$network is not an NVMe controller \(its class is 020000, not 010802\)"
  nvme_bdev "$address"
  serve_refuses "disk1.*$address is bound to nvme, not to vfio-pci: run .corelane setup bind $address. first"
}

# The emulated IOMMU remaps no interrupts.
unsafe() {
  "$CORELANE" setup bind "$address"
  nvme_bdev "$address"
  serve_refuses "the IOMMU of $address does not isolate interrupts: .*allow_unsafe_interrupts=1"
  echo Y > $isolation
}

twins() {
  local first second
  first=$(address_of TWIN0)
  second=$(address_of TWIN1)
  equal "the group" "$(readlink "/sys/bus/pci/devices/$first/iommu_group")" "$(readlink "/sys/bus/pci/devices/$second/iommu_group")"
  echo vfio-pci > "/sys/bus/pci/devices/$first/driver_override"
  echo "$first" > "/sys/bus/pci/devices/$first/driver/unbind"
  echo "$first" > /sys/bus/pci/drivers_probe
  nvme_bdev "$first"
  serve_refuses "$first shares IOMMU group [0-9]+ with functions that the kernel drives \($second: nvme\)"
}

not_allowed() {
  chmod 755 "$work"
  state=$work/nobody
  install -d -o 65534 "$state"
  nvme_bdev "$address"
  chmod 644 "$work/corelane.json"
  serve_refuses "no permission to open /dev/vfio/$group: .*chown" "${nobody[@]}"
  chown 65534 "/dev/vfio/$group"
  ulimit -l 1024
  serve_refuses 'bytes cannot be locked for the device: the limit on locked memory is 1048576 bytes; raise it with .ulimit -l' \
    "${nobody[@]}"
  # Root may lock what it likes.
  guest_test "$address" device::registers_memory_interrupt_and_reset_work
  chown 0 "/dev/vfio/$group"
}

busy() {
  tail -f /dev/null 3< "/dev/vfio/$group" &
  nvme_bdev "$address"
  serve_refuses "$address is in use by another process: .fuser -v /dev/vfio/$group. names it"
  kill $!
}

wrong_namespaces() {
  local serial
  for serial in EMPTY META; do
    "$CORELANE" setup bind "$(address_of $serial)" > "$work/$serial"
  done
  nvme_bdev "$(cut -d ' ' -f 1 < "$work/EMPTY" | sed 's/:$//')"
  serve_refuses 'the controller has no active namespace: create and attach one'
  nvme_bdev "$(cut -d ' ' -f 1 < "$work/META" | sed 's/:$//')"
  serve_refuses 'namespace 1 has 8 bytes of metadata in each block, which is not supported: format it without'
  nvme_bdev "$address" ', "namespace": 7'
  serve_refuses "$address: the controller has no active namespace 7; active are \[1\]"
}

example() {
  local said
  said=$("$NVME_READ" "$address")
  holds "the example" "$said" "^$address: QEMU NVMe Ctrl, serial EMULATED0"
  holds "the example" "$said" '^namespace 1: 524288 blocks of 512 bytes'
  holds "the example" "$said" '^block 7: 0{64}\.\.\.'
  holds "the example" "$said" '^8 commands, 2 doorbells'
}

device() { guest_test "$address" device::registers_memory_interrupt_and_reset_work; }
driver_suite() {
  address_of SUITE > "$work/suite"
  "$CORELANE" setup bind "$(cat "$work/suite")"
  guest_test "$(cat "$work/suite")" driver::the_suite_of_the_driver_passes
}
no_copy() { guest_test "$address" driver::a_copy_that_the_namespace_does_not_take_is_refused_at_once; }
bdev_suite() {
  TEST=$work/unit guest_test "$(cat "$work/suite")" app::devices::tests::a_namespace_behind_vfio_conforms
}
load() { guest_test "$address" driver::what_was_written_is_read_at_depth_128; }
reset() { guest_test "$address" driver::a_reset_under_load_ends_or_repeats_every_command; }

# A load on the device, from the load's own process.
perf_drives() {
  local perf=("$CORELANE" perf --target "pcie://$address" --duration 2s --warm-up 100ms)
  "${perf[@]}" --depth 32 --connections 4 --cores 2 --mix 50 --verify --yes-overwrite --json --plot "$work/plot.svg" \
    > "$work/perf" || { cat "$work/perf"; return 1; }
  holds "the report" "$(cat "$work/perf")" "^  \"target\": \"pcie://$address\""
  holds "the report" "$(cat "$work/perf")" '^  "nsid": 1,?$'
  holds "the report" "$(cat "$work/perf")" '^  "errors": 0,?$'
  holds "the report" "$(cat "$work/perf")" '^ +"blocks_wrong": 0,?$'
  holds "the report" "$(cat "$work/perf")" '^ +"commands_read_back": [1-9]'
  holds "the report" "$(cat "$work/perf")" '^  "iops": [1-9]'
  holds "the plot" "$(cat "$work/plot.svg")" '^<svg .*'
  # Each run of a sweep takes the same queue pairs; the namespace is asked for.
  "${perf[@]}" --nsid 1 --sweep --depth 4 --block-size 128KiB > "$work/perf" || { cat "$work/perf"; return 1; }
  holds "the report" "$(cat "$work/perf")" '^ +4 +[1-9][0-9]* .* 0$'
  refuses "a load that writes" "pcie://$address: this load overwrites .* add --yes-overwrite" "${perf[@]}" --mix 0
  refuses "a namespace" "$address: the controller has no active namespace 7; active are \[1\]" "${perf[@]}" --nsid 7
  refuses "nine queue pairs" "$address grants 8 queue pairs, and 9 are needed, .*fewer connections" "${perf[@]}" --connections 9
  refuses "a block size" 'not a multiple of the 512 bytes of a logical block' "${perf[@]}" --block-size 1000
  refuses "a device of the kernel" 'is bound to nvme, not to vfio-pci: run .corelane setup bind' \
    "$CORELANE" perf --target "pcie://$(address_of TWIN1)"
  refuses "no device" 'there is no PCI function 0000:00:1e.7' "$CORELANE" perf --target pcie://00:1e.7
  refuses "no permission" "no permission to open /dev/vfio/$group: .*chown" "${nobody[@]}" "${perf[@]}"
}

# fio drives the device through its engine: queue pairs of its own for jobs at a time and one after the other.
fio_drives() {
  local engine=$work/libcorelane_fio.so
  install -m 755 "$CORELANE_FIO" "$engine"
  fio_passes --name=trim --rw=trim --bs=64k --iodepth=4 --size=1m --name=verify --stonewall --rw=randwrite --bs=4k --iodepth=32 \
    --size=4m --fsync=64 --verify=crc32c --verify_fatal=1 --name=jobs --stonewall --numjobs=3 --rw=randrw \
    --bsrange=512-256k --blockalign=512 --iodepth=16 --size=16m --io_size=2m --group_reporting
  holds "what fio says" "$(cat "$work/fio")" 'issued rwts: total=1024,1024,0,'
  refuses "a namespace" 'there is no active namespace 7; active are \[1\]' fio --ioengine="external:$engine" --pcie="$address" \
    --name=other --filename=7 --rw=read --size=1m
  refuses "a device" 'is bound to nvme, not to vfio-pci' fio --ioengine="external:$engine" --pcie="$(address_of TWIN1)" \
    --name=other --rw=read --size=1m
}

fio_passes() {
  fio --ioengine="external:$engine" --pcie="$address" "$@" > "$work/fio" 2>&1 || { cat "$work/fio"; return 1; }
}

served() {
  local remote
  nvme_bdev "$address"
  start_target
  connect
  remote=$(disk_of 1)
  equal "the size" "$(blockdev --getsize64 "$remote")" $((256 << 20))
  fio --name=verify --filename="$remote" --direct=1 --ioengine=libaio --iodepth=32 --rw=randwrite --bs=4k --size=64M \
    --io_size=8M --verify=crc32c --verify_fatal=1 --randseed=1 > "$work/fio" || { cat "$work/fio"; return 1; }
  mkfs.ext4 -q -F "$remote"
  mount "$remote" "$work/at"
  cp -r /etc/ssl /etc/default "$work/at/"
  head -c 20M /dev/urandom > "$work/at/data"
  (cd "$work/at" && find . -type f -exec sha256sum {} + | sort) > "$work/sums"
  fstrim "$work/at"
  umount "$work/at"
  nvme disconnect -n $nqn
  stop_target
}

# Prints the kernel's disk of the device, or nothing; its name need not be that of before.
disk() {
  local at
  for at in /sys/block/nvme*n1; do
    if [[ $(tr -d ' ' < "$at/device/serial") == EMULATED0 && -b /dev/$(basename "$at") ]]; then
      echo "/dev/$(basename "$at")"
      return
    fi
  done
}

disk_is_back() { [[ -n $(disk) ]]; }

given_back() {
  local disk
  "$CORELANE" setup unbind "$address"
  until_true 30 "the kernel's disk is there" disk_is_back
  disk=$(disk)
  fsck.ext4 -f -n "$disk"
  mount -o ro "$disk" "$work/at"
  (cd "$work/at" && find . -type f -exec sha256sum {} + | sort) | cmp - "$work/sums"
  umount "$work/at"
}

step "devices that cannot be driven are refused" wrong_devices
step "interrupts that are not isolated are refused" unsafe
step "a group with a driver of the kernel is refused" twins
step "who may not is told what is missing" not_allowed
step "a device that is in use is refused" busy
step "namespaces that cannot be served are refused" wrong_namespaces
step "the example reads blocks" example
step "registers, memory, interrupt and reset work" device
step "the driver's suite passes" driver_suite
step "a copy that the namespace does not take is refused" no_copy
step "the suite of block devices passes" bdev_suite
step "what was written is read, at depth 128" load
step "resets under load end or repeat every command" reset
step "a load drives it" perf_drives
[[ -z ${CORELANE_FIO:-} ]] || step "fio drives it" fio_drives
step "a Linux host makes a file system on it" served
step "the kernel has it back, with the host's files" given_back
cat "$work/figures"
