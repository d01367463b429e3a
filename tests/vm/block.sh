#!/bin/bash
# The bdev `file` on block devices: what is refused and why, the tests of the library on loop devices, a Linux host on a disk
# that is served, a disk that fails for a while, and one that vanishes.
#
# Wants to be told: CORELANE, UNIT (the program, and the library's tests). The machine needs CORELANE_VM_NVME and a disk
# /dev/vda.
# shellcheck source-path=SCRIPTDIR source=vfio_steps.sh
. ./vfio_steps.sh

: "${UNIT:?}"
install -m 755 "$UNIT" "$work/unit"
nvme_disk=/dev/nvme0n1
nvme_function=$(cat /sys/class/nvme/nvme0/address)
switch=/proc/sys/kernel/io_uring_disabled
mkdir -p "$work/at"

# file_bdev PATH [MORE]: one bdev as JSON.
file_bdev() { echo "{\"type\": \"file\", \"path\": \"$1\", \"block_size\": ${2:-512}}"; }

# serve_refuses REGEX
serve_refuses() {
  refuses "serve" "$1" timeout 60 "$CORELANE" serve --config "$work/corelane.json" --state-dir "$work/refused"
}

unit_tests() {
  CORELANE_BLOCK_DEVICES=1 "$work/unit" --nocapture --test-threads=2 bdev::file::tests::devices > "$work/said" 2>&1 \
    || { cat "$work/said"; return 1; }
  holds "what the tests say" "$(cat "$work/said")" '^test result: ok. 6 passed'
}

refused() {
  local small
  configure "$(file_bdev /dev/nothing)"
  serve_refuses 'disk1.*/dev/nothing: it does not exist'
  configure "$(file_bdev /dev/ttyS1)"
  serve_refuses '/dev/ttyS1: it is a character device'
  mkfs.ext4 -q -F /dev/vda
  mount /dev/vda "$work/at"
  configure "$(file_bdev /dev/vda)"
  serve_refuses '/dev/vda: the device is in use: mounted, swap, or part of RAID, LVM or device mapper'
  umount "$work/at"
  mkswap /dev/vda
  swapon /dev/vda
  serve_refuses '/dev/vda: the device is in use'
  swapoff /dev/vda
  dmsetup create held --table "0 $(blockdev --getsz /dev/vda) linear /dev/vda 0"
  serve_refuses '/dev/vda: the device is in use'
  dmsetup remove held
  blockdev --setro /dev/vda
  serve_refuses '/dev/vda: the device is read-only'
  blockdev --setrw /dev/vda
  truncate -s 16M "$work/small"
  small=$(losetup --find --show --sector-size 4096 "$work/small")
  configure "$(file_bdev "$small" 512)"
  serve_refuses "$small: direct I/O needs blocks of at least 4096 bytes here, and block_size is 512"
  losetup --detach "$small"
}

forbidden() {
  configure "$(file_bdev /dev/vda)"
  echo 2 > $switch
  serve_refuses 'io_uring is switched off: kernel.io_uring_disabled is 2; sysctl kernel.io_uring_disabled=0 allows it'
  # Without privileges, 1 is as good as 2.
  echo 1 > $switch
  chmod 755 "$work"
  chmod 644 "$work/corelane.json"
  chown 65534 /dev/vda
  refuses "serve" 'kernel.io_uring_disabled is 1' setpriv --reuid=65534 --regid=65534 --clear-groups timeout 60 \
    "$CORELANE" serve --config "$work/corelane.json" --state-dir /tmp/nobody
  chown 0 /dev/vda
  echo 0 > $switch
}

# A disk in memory, which needs no io_uring, and an engine for sockets: demand ENGINE
demand() {
  configure '{"type": "malloc", "size": "8MiB"}'
  sed -i "s/^{$/{ \"reactors\": {\"engine\": \"$1\"},/" "$work/corelane.json"
}

# checked REGEX [WRAPPER ...]: what `check` says of sockets.
checked() {
  local regex=$1
  shift
  holds "check" "$("$@" "$CORELANE" check "$work/corelane.json" 2>&1)" "^sockets: $regex"
}

engines() {
  local locks_nothing=(setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock prlimit --memlock=0:0)
  demand io_uring
  checked 'io_uring$'
  # This kernel charges the ring to the control group. Others count it as locked memory: see tests/process/engines.rs.
  checked 'io_uring$' "${locks_nothing[@]}"
  echo 2 > $switch
  checked 'io_uring, and not here: io_uring is switched off: kernel.io_uring_disabled is 2'
  serve_refuses 'reactors.engine.*kernel.io_uring_disabled is 2'
  demand auto
  checked 'epoll'
  start_target
  holds "serve" "$(cat "$work/served")" '^sockets: epoll'
  stop_target
  echo 0 > $switch
}

# Files on the host's disk, and their sums.
fill() {
  mount "$1" "$work/at"
  cp -r /etc/ssl "$work/at/"
  head -c 8M /dev/urandom > "$work/at/data"
  (cd "$work/at" && find . -type f -exec sha256sum {} + | sort) > "$work/sums"
  umount "$work/at"
}

compare() {
  mount -o ro "$1" "$work/at"
  (cd "$work/at" && find . -type f -exec sha256sum {} + | sort) | cmp - "$work/sums"
  umount "$work/at"
}

served() {
  local remote
  configure "$(file_bdev /dev/vda)" "$(file_bdev $nvme_disk)"
  start_target
  connect
  remote=$(disk_of 1)
  equal "the size" "$(blockdev --getsize64 "$remote")" $((128 << 20))
  equal "the sector" "$(blockdev --getss "$remote")" 512
  fio --name=verify --filename="$remote" --direct=1 --ioengine=libaio --iodepth=32 --rw=randwrite --bs=4k --size=64M \
    --io_size=8M --verify=crc32c --verify_fatal=1 --randseed=1 > "$work/fio" || { cat "$work/fio"; return 1; }
  # Deallocate and Write Zeroes arrive at the disk below.
  blkdiscard "$remote"
  blkdiscard --zeroout --length 1M "$remote"
  mkfs.ext4 -q -F "$remote"
  fill "$remote"
  # The target has the disk, and nobody else gets it.
  refuses "a second target" '/dev/vda: (another process or another bdev has it|the device is in use)' \
    timeout 60 "$CORELANE" serve --config "$work/corelane.json" --state-dir "$work/second"
  refuses "mount" 'busy|already mounted' mount /dev/vda "$work/at"
  nvme disconnect -n $nqn
  stop_target
  compare /dev/vda
}

# table WHAT: what is below the disk from now on.
table() {
  local sectors
  sectors=$(blockdev --getsz /dev/vda)
  case $1 in
    whole) echo "0 $sectors linear /dev/vda 0" ;;
    broken) echo "0 $sectors error" ;;
  esac
}

swap_table() {
  dmsetup suspend --nolockfs --noflush fragile
  dmsetup load fragile --table "$(table "$1")"
  dmsetup resume fragile
}

fails_a_while() {
  local remote healthy
  dmsetup create fragile --table "$(table whole)"
  dmsetup mknodes fragile
  configure "$(file_bdev /dev/mapper/fragile)" '{"type": "malloc", "size": "32MiB"}'
  start_target
  connect
  until_true 30 "namespace 2 appears" disk_is_there 2
  remote=$(disk_of 1)
  healthy=$(disk_of 2)
  fio --name=load --filename="$remote" --direct=1 --ioengine=libaio --iodepth=32 --rw=randrw --bs=4k --size=64M \
    --time_based --runtime=120 > "$work/load" 2>&1 &
  sleep 3
  target_runs
  swap_table broken
  if wait $!; then fail "I/O on a disk that fails fails"; fi
  holds "what fio says" "$(cat "$work/load")" 'Input/output error|critical medium error|No data available|Remote I/O'
  # With its status: a read is an Unrecovered Read Error (02h/81h), a write a Write Fault (02h/80h).
  refuses "a read" 'Unrecovered Read Error|READ_ERROR|0x[0-9a-f]*281' nvme read "$remote" -s 0 -c 0 -z 512 -d "$work/block"
  head -c 512 /dev/zero > "$work/zeros"
  refuses "a write" 'Write Fault|WRITE_FAULT|0x[0-9a-f]*280' nvme write "$remote" -s 0 -c 0 -z 512 -d "$work/zeros"
  # The others do not notice.
  target_runs
  fio --name=verify --filename="$healthy" --direct=1 --ioengine=libaio --iodepth=32 --rw=randwrite --bs=4k --size=16M \
    --verify=crc32c --verify_fatal=1 > "$work/fio" || { cat "$work/fio"; return 1; }
  # Nor does the disk, once it is well: it reads and writes again.
  swap_table whole
  dd if=/dev/urandom of="$work/random" bs=4k count=16 status=none
  dd if="$work/random" of="$remote" bs=4k count=16 oflag=direct status=none
  dd if="$remote" bs=4k count=16 iflag=direct status=none | cmp - "$work/random"
  nvme disconnect -n $nqn
  stop_target
  dmsetup remove fragile
}

vanishes() {
  local remote healthy
  configure "$(file_bdev $nvme_disk)" '{"type": "malloc", "size": "32MiB"}'
  start_target
  connect
  until_true 30 "namespace 2 appears" disk_is_there 2
  remote=$(disk_of 1)
  healthy=$(disk_of 2)
  fio --name=load --filename="$remote" --direct=1 --ioengine=libaio --iodepth=32 --rw=randrw --bs=4k --size=64M \
    --time_based --runtime=120 > "$work/load" 2>&1 &
  sleep 3
  target_runs
  echo 1 > "/sys/bus/pci/devices/$nvme_function/remove"
  if wait $!; then fail "I/O on a disk that has vanished fails"; fi
  holds "what fio says" "$(cat "$work/load")" 'Input/output error|No such device|No data available|Remote I/O'
  refuses "reading what is gone" 'error' dd if="$remote" of=/dev/null bs=4k count=1 iflag=direct
  target_runs
  fio --name=verify --filename="$healthy" --direct=1 --ioengine=libaio --iodepth=32 --rw=randwrite --bs=4k --size=16M \
    --verify=crc32c --verify_fatal=1 > "$work/fio" || { cat "$work/fio"; return 1; }
  nvme disconnect -n $nqn
  stop_target
}

step "devices that cannot be served are refused" refused
step "io_uring that is switched off is named" forbidden
step "sockets do without it, unless it is demanded" engines
step "the library's tests pass on loop devices" unit_tests
step "a Linux host makes a file system on it" served
step "a disk fails for a while" fails_a_while
step "a disk vanishes" vanishes
