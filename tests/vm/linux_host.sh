#!/bin/bash
# A Linux host and a target, from discovery to a silent kernel log. Runs in the guest, as root.
#
# Told by the environment:
#   ADDRESS, PORT      where the target answers discovery; where its subsystems listen is what discovery says of their ports
#   NQN                a subsystem with namespace 1 (4,096-byte blocks, at least 256 MiB, keeps its data, reads zeros where
#                      deallocated) and namespace 2 (512-byte blocks; what is written to it may be lost)
#   SERIAL, MODEL      of that subsystem
#   UUID, BLOCKS       of its namespace 1: the identifier, and the number of blocks
#   NQN2               another subsystem: namespace 1 with 512-byte blocks, at least 32 MiB, keeps its data
#   FEATURES           feature identifiers that Get Features must know
#   STRICT             `no` for a target without the Compare command, and with statuses of its own for wrong commands
#   FIO_JOBS           folder with linux.fio of benches/fio; without it that job is left out
#   SEED               of fio's offsets and data; by default a fresh one
set -uo pipefail
# shellcheck source=tests/vm/steps.sh
. "$(dirname "$0")/steps.sh"
# shellcheck source=tests/vm/protection.sh
. "$(dirname "$0")/protection.sh"

: "${ADDRESS:?}" "${PORT:?}" "${NQN:?}" "${SERIAL:?}" "${MODEL:?}" "${UUID:?}" "${BLOCKS:?}" "${NQN2:?}" "${FEATURES:?}"
STRICT=${STRICT:-yes}
SEED=${SEED:-$(((RANDOM << 15) | RANDOM))}
disk=$work/disk
tree=/usr/lib/$(uname -m)-linux-gnu/perl-base # a few hundred files that every Debian has
mib=$((1024 * 1024))

# Prints the block device of a namespace, or nothing: namespace NQN NSID
namespace() {
  local at
  for at in /sys/block/nvme*n*; do
    [[ -e $at/nsid && $(basename "$at") =~ ^nvme[0-9]+n[0-9]+$ ]] || continue
    if [[ $(< "$at/device/subsysnqn") == "$1" && $(< "$at/nsid") == "$2" ]]; then
      echo "/dev/$(basename "$at")"
      return
    fi
  done
}

# Prints the controller's character device: controller NQN
controller() {
  local at
  for at in /sys/class/nvme/nvme*; do
    if [[ -e $at/subsysnqn && $(< "$at/subsysnqn") == "$1" ]]; then
      echo "/dev/$(basename "$at")"
      return
    fi
  done
}

# Prints the regular expression of what nvme-cli says of a status: status NAME
status() {
  [[ $STRICT == no ]] && echo '^NVMe status: ' || echo "^NVMe status: .*$1"
}

# Prints the port of a subsystem, of the discovery log that `discover` has left: port_of NQN
port_of() {
  awk -v nqn="$1" '$1 == "trsvcid:" {port = $2} $1 == "subnqn:" && $2 == nqn {print port; exit}' "$work/discovery"
}

present() { [[ -n $(namespace "$1" "$2") && -b $(namespace "$1" "$2") ]]; }
live() { [[ $(< "/sys/class/nvme/$(basename "$(controller "$1")")/state") == live ]]; }

# connect NQN [NVME-CONNECT-OPTION ...]
connect() {
  local nqn=$1
  shift
  nvme connect -t tcp -a "$ADDRESS" -s "$(port_of "$nqn")" -n "$nqn" --nr-io-queues=2 --keep-alive-tmo="$keep_alive" "$@"
  until_true 20 "namespace 1 of $nqn appears" present "$nqn" 1
}

disconnect() {
  holds "what nvme disconnect says" "$(nvme disconnect -n "$1")" 'disconnected 1 controller'
}

discover() {
  local log
  nvme discover -t tcp -a "$ADDRESS" -s "$PORT" > "$work/discovery"
  log=$(< "$work/discovery")
  holds "the discovery log" "$log" "^trtype: +tcp"
  holds "the discovery log" "$log" "^subtype: +nvme subsystem"
  holds "the discovery log" "$log" "^trsvcid: +$PORT *\$"
  holds "the discovery log" "$log" "^subnqn: +$NQN\$"
  holds "the discovery log" "$log" "^subnqn: +$NQN2\$"
}

# A discovery controller with a keep alive timer stays, and is told of changes.
persistent_discovery() {
  [[ $STRICT == no ]] && return
  local name=nqn.2014-08.org.nvmexpress.discovery
  nvme discover -t tcp -a "$ADDRESS" -s "$PORT" --persistent --keep-alive-tmo=$keep_alive > "$work/persistent"
  holds "the discovery log" "$(< "$work/persistent")" '^subtype: +current discovery subsystem'
  [[ -n $(controller "$name") ]] || fail "a discovery controller that stays"
  holds "its identity" "$(nvme id-ctrl "$(controller "$name")")" '^cntrltype *: 2$'
  holds "its notices" "$(nvme id-ctrl "$(controller "$name")")" '^oaes *: 0x80000000$'
  holds "what nvme disconnect says" "$(nvme disconnect -n "$name")" 'disconnected 1 controller'
}

refuse_unknown_subsystem() {
  refuses "connecting to an unknown subsystem" 'failed|error|Invalid' \
    nvme connect -t tcp -a "$ADDRESS" -s "$PORT" -n "$NQN-not-there"
}

list() {
  local text
  text=$(nvme list)
  holds "nvme list" "$text" "^$(namespace "$NQN" 1) .*$SERIAL +$MODEL "
  text=$(nvme list-subsys)
  holds "nvme list-subsys" "$text" "NQN=$NQN\$"
  holds "nvme list-subsys" "$text" "tcp .*trsvcid=$(port_of "$NQN").* live"
}

identify_controller() {
  local text
  text=$(nvme id-ctrl "$(controller "$NQN")")
  holds "id-ctrl" "$text" "^sn +: $SERIAL *\$"
  holds "id-ctrl" "$text" "^mn +: $MODEL *\$"
  holds "id-ctrl" "$text" "^subnqn +: $NQN\$"
  holds "id-ctrl" "$text" '^cntlid +: (0x)?[0-9a-f]*[1-9a-f]'
  holds "id-ctrl" "$text" '^ver +: 0x(1|2)0[0-9a-f]{3}'
  holds "id-ctrl" "$text" '^sqes +: 0x66'
  holds "id-ctrl" "$text" '^cqes +: 0x44'
  holds "id-ctrl" "$text" '^kas +: [1-9]'
  holds "id-ctrl" "$text" '^ioccsz +: [1-9]'
  holds "id-ctrl" "$text" '^iorcsz +: 1$'
  holds "id-ctrl" "$text" '^icdoff +: 0$'
  holds "id-ctrl" "$text" '^sgls +: (0x)?[0-9a-f]*[1-9a-f]'
  holds "id-ctrl" "$text" '^cntrltype *: 1$'
  text=$(nvme id-ctrl -H "$(controller "$NQN")")
  holds "id-ctrl -H" "$text" 'Write Zeroes Supported'
  holds "id-ctrl -H" "$text" 'Data Set Management Supported'
  [[ $STRICT == no ]] || holds "id-ctrl -H" "$text" 'Compare Supported'
  holds "the property CSTS" "$(nvme get-property "$(controller "$NQN")" --offset=0x1c)" 'value: 1$'
  holds "the property VS" "$(nvme get-property "$(controller "$NQN")" --offset=0x8)" 'value: (1|2)0[0-9a-f]{3}$'
}

identify_namespaces() {
  local text
  text=$(nvme list-ns "$(controller "$NQN")")
  holds "list-ns" "$text" '^\[ +0\]:0x1$'
  holds "list-ns" "$text" '^\[ +1\]:0x2$'
  text=$(nvme id-ns "$(controller "$NQN")" -n 1)
  holds "id-ns of namespace 1" "$text" "^nsze +: 0x$(printf %x "$BLOCKS")\$"
  holds "id-ns of namespace 1" "$text" '^lbaf .*lbads:12 .*\(in use\)'
  holds "id-ns of namespace 2" "$(nvme id-ns "$(controller "$NQN")" -n 2)" '^lbaf .*lbads:9 .*\(in use\)'
  holds "ns-descs of namespace 1" "$(nvme ns-descs "$(controller "$NQN")" -n 1)" "uuid +: $UUID"
  [[ $STRICT == no ]] || refuses "identifying a namespace beyond the last" "$(status 'Invalid Namespace')" \
    nvme id-ns "$(controller "$NQN")" -n 0xfffffff0
  equal "the UUID that the kernel shows" "$(< "/sys/block/$(basename "$(namespace "$NQN" 1)")/uuid")" "$UUID"
  equal "the size of namespace 1" "$(blockdev --getsize64 "$(namespace "$NQN" 1)")" $((BLOCKS * 4096))
  equal "the block size of namespace 1" "$(blockdev --getss "$(namespace "$NQN" 1)")" 4096
}

read_logs() {
  local text
  text=$(nvme smart-log "$(controller "$NQN")")
  holds "the SMART log" "$text" '^critical_warning +: 0$'
  holds "the SMART log" "$text" '^media_errors +: 0$'
  holds "the error log" "$(nvme error-log "$(controller "$NQN")" -e 1)" '^Error Log Entries for device:.* entries:1'
  text=$(nvme fw-log "$(controller "$NQN")")
  holds "the firmware log" "$text" '^afi +: '
  [[ $STRICT == no ]] || holds "the firmware log" "$text" '^afi +: (0x)?1$'
}

read_features() {
  local feature scope vwc
  # The volatile write cache is a feature of controllers that have one.
  vwc=$(nvme id-ctrl "$(controller "$NQN")" | awk '$1 == "vwc" {print $3}')
  ((vwc % 2 == 0)) || FEATURES+=" 0x06"
  for feature in $FEATURES; do
    scope=()
    [[ $feature == 0x05 ]] && scope=(-n 1) # Error Recovery belongs to a namespace
    holds "get-feature $feature" "$(nvme get-feature "$(controller "$NQN")" -f "$feature" "${scope[@]}")" 'Current value:'
  done
  holds "the keep alive timer" "$(nvme get-feature "$(controller "$NQN")" -f 0x0f)" \
    "Current value: *0*x?0*$(printf %x $((keep_alive * 1000)))\$"
  refuses "reading a feature that no specification names" "$(status 'Invalid Field')" \
    nvme get-feature "$(controller "$NQN")" -f 0x7f
}

# Every structure of Identify, and what says that there are no more.
identify_everything() {
  [[ $STRICT == no ]] && return
  local device
  device=$(controller "$NQN")
  holds "cmdset-ind-id-ns" "$(nvme cmdset-ind-id-ns "$device" -n 1)" '^nmic *: 0x1$'
  holds "nvm-id-ctrl" "$(nvme nvm-id-ctrl "$device")" '^wzsl *: [1-9]'
  holds "id-iocs" "$(nvme id-iocs "$device")" '\[0\]: *(0x)?1$'
  refuses "asking for a list of controllers" "$(status 'Invalid Field')" nvme list-ctrl "$device"
  # CNS 05h, CNS 07h, and one that there is not
  nvme admin-passthru "$device" --opcode=0x06 --namespace-id=1 --cdw10=0x05 --data-len=4096 --read > "$work/page"
  nvme admin-passthru "$device" --opcode=0x06 --cdw10=0x07 --data-len=4096 --read > "$work/page"
  refuses "an unknown structure" "$(status 'Invalid Field')" \
    nvme admin-passthru "$device" --opcode=0x06 --cdw10=0xee --data-len=4096 --read
  refuses "an unknown command" "$(status 'Invalid Command Opcode')" nvme admin-passthru "$device" --opcode=0xc1
}

# Every log page; the error log has what was refused right before.
read_every_log() {
  [[ $STRICT == no ]] && return
  local device text
  device=$(controller "$NQN")
  text=$(nvme supported-log-pages "$device")
  for page in 0x0 0x1 0x2 0x3 0x4 0x5 0x12 0x13 0x80; do
    holds "the supported log pages" "$text" "^LID $page "
  done
  refuses "an unknown command" "$(status 'Invalid Command Opcode')" nvme admin-passthru "$device" --opcode=0xc2
  text=$(nvme error-log "$device" -e 64)
  holds "the error log" "$text" '^error_count *: [1-9]'
  holds "the error log" "$text" '^status_field *: 0x4001\(Invalid Command Opcode'
  holds "the SMART log" "$(nvme smart-log "$device")" '^num_err_log_entries *: [1-9]'
  nvme changed-ns-list-log "$device"
  # nvme effects-log says nothing of controllers over fabrics: Identify has its entry, and opcode C2h has none.
  nvme get-log "$device" --log-id=0x05 --log-len=4096 --raw-binary > "$work/page"
  equal "the effects of Identify" "$(od -An -tu1 -j$((0x06 * 4)) -N1 "$work/page" | tr -d ' ')" 1
  equal "the effects of opcode C2h" "$(od -An -tu1 -j$((0xc2 * 4)) -N1 "$work/page" | tr -d ' ')" 0
  holds "the feature effects" "$(nvme fid-support-effects-log "$device")" '^FID 0b '
  nvme mi-cmd-support-effects-log "$device"
  nvme resv-notif-log "$device"
  refuses "an unknown log page" "$(status 'Invalid Log Page')" nvme get-log "$device" --log-id=0xc5 --log-len=512
  # Offsets: a part of a page is that part of it.
  nvme get-log "$device" --log-id=0x12 --log-len=1024 --raw-binary > "$work/page"
  nvme get-log "$device" --log-id=0x12 --log-len=64 --lpo=4 --raw-binary > "$work/part"
  tail -c +5 "$work/page" > "$work/rest"
  cmp -n 64 "$work/part" "$work/rest" || fail "a part of a log page"
  refuses "a log page beyond its end" "$(status 'Invalid Field')" nvme get-log "$device" --log-id=0x12 --log-len=4 --lpo=4096
}

# Every feature by every selector; and values that are refused.
read_every_feature() {
  [[ $STRICT == no ]] && return
  local device feature scope select
  device=$(controller "$NQN")
  for feature in 0x01 0x02 0x04 0x05 0x07 0x0a 0x0b 0x0f 0x16 0x19 0x81 0x82 0x83 0x84; do
    scope=()
    [[ $feature =~ 0x05|0x82|0x83|0x84 ]] && scope=(-n 1)
    [[ $feature == 0x16 ]] && scope=(-l 512)
    [[ $feature == 0x81 ]] && scope=(-l 16 --cdw11=1)
    for select in 0 1 2 3; do
      nvme get-feature "$device" -f "$feature" -s "$select" "${scope[@]}"
    done
    [[ $feature == 0x81 ]] && scope=(-l 16)
    refuses "saving feature $feature" "$(status 'not saveable|Not Saveable')" \
      nvme set-feature "$device" -f "$feature" --value=0 --save "${scope[@]}"
  done
  nvme set-feature "$device" -f 0x01 --value=0x01020303
  holds "the arbitration" "$(nvme get-feature "$device" -f 0x01)" 'Current value: *0*x?0*1020303$'
  refuses "power state 1" "$(status 'Invalid Field')" nvme set-feature "$device" -f 0x02 --value=1
  refuses "another host identifier" "$(status 'Command Sequence|Sequence Error')" nvme set-feature "$device" -f 0x81 --value=1
}

# Nothing to abort is no error: the command says that nothing was aborted.
abort_nothing() {
  [[ $STRICT == no ]] && return
  holds "Abort" "$(nvme admin-passthru "$(controller "$NQN")" --opcode=0x08 --cdw10=0x77770001 2>&1)" 'result: *0*x?0*1'
}

make_file_system() {
  # The file system has the first 96 MiB; the rest belongs to fio and to the commands below.
  mkfs.ext4 -q -b 4096 "$(namespace "$NQN" 1)" 96M
  mkdir "$disk"
  mount "$(namespace "$NQN" 1)" "$disk"
}

# checksums FOLDER
checksums() {
  (cd "$1" && find . -type f -exec sha256sum {} + | sort -k 2)
}

copy_tree() {
  cp -r "$tree" "$disk/tree"
  head -c 8M /dev/urandom > "$disk/large"
  checksums "$tree" > "$work/original"
  checksums "$disk/tree" > "$work/copy"
  diff "$work/original" "$work/copy" || fail "the copy of $tree equals it"
  checksums "$disk" > "$work/checksums"
  (($(wc -l < "$work/checksums") > 50)) || fail "more than 50 files in $tree"
  cp "$disk/large" "$disk/large.copy"
  rm "$disk/large.copy"
  sync
  fstrim "$disk"
}

# Everything comes from the target again: nothing of it is in the page cache.
verify_tree() {
  mountpoint -q "$disk" || mount "$(namespace "$NQN" 1)" "$disk"
  echo 3 > /proc/sys/vm/drop_caches
  (cd "$disk" && sha256sum --quiet -c "$work/checksums") || fail "every checksum of the copied files"
  umount "$disk"
  fsck.ext4 -f -n "$(namespace "$NQN" 1)" || fail "a clean file system"
}

# fio_verify DEVICE OFFSET-MIB SIZE-MIB BLOCK-SIZE DEPTH: writes, reads back while writing, and reads everything at the end.
fio_verify() {
  fio --name="$4-$5" --filename="$1" --offset="${2}M" --size="${3}M" --bs="$4" --iodepth="$5" --rw=randrw \
    --ioengine=libaio --direct=1 --verify=crc32c --verify_fatal=1 --verify_backlog=64 --verify_dump=0 \
    --randseed=$((SEED + RANDOM)) --randrepeat=0 --minimal
}

# Sizes below and above what fits into a capsule, and above what fits into one command.
fio_verify_sizes() {
  local device
  device=$(namespace "$NQN" 1)
  fio_verify "$device" 128 8 4k 64
  fio_verify "$device" 128 8 8k 32
  fio_verify "$device" 128 16 64k 32
  fio_verify "$device" 128 32 1m 16
}

# Without this, a verification that verifies nothing would pass.
fio_notices_damage() {
  local device job
  device=$(namespace "$NQN" 1)
  job=(--name=damage --filename="$device" --offset=192M --size=1M --bs=4k --ioengine=libaio --direct=1 --iodepth=16
    --verify=crc32c --verify_fatal=1 --verify_dump=0 --minimal)
  fio "${job[@]}" --rw=write
  fio "${job[@]}" --rw=read
  dd if="$device" of="$work/block" bs=4096 count=1 skip=$((192 * 256 + 77)) iflag=direct
  printf '\377\0\377' | dd of="$work/block" bs=1 seek=1000 conv=notrunc
  dd if="$work/block" of="$device" bs=4096 count=1 seek=$((192 * 256 + 77)) oflag=direct
  refuses "fio, on a damaged block," 'verify' fio "${job[@]}" --rw=read
}

# fill FIRST-BLOCK BLOCKS: anything but zeros
fill() {
  head -c $(($2 * 4096)) /dev/zero | tr '\0' x | dd of="$(namespace "$NQN" 1)" bs=4096 seek="$1" iflag=fullblock oflag=direct
}

# zeros FIRST-BLOCK BLOCKS, with other bytes right before and after
zeros() {
  local device
  device=$(namespace "$NQN" 1)
  dd if="$device" bs=4096 skip="$1" count="$2" iflag=direct | cmp -n $(($2 * 4096)) - /dev/zero || fail "zeros in $2 blocks at $1"
  equal "the byte before block $1" "$(dd if="$device" bs=4096 skip=$(($1 - 1)) count=1 iflag=direct | tail -c 1)" x
  equal "the byte after the $2 blocks at $1" "$(dd if="$device" bs=4096 skip=$(($1 + $2)) count=1 iflag=direct | head -c 1)" x
}

zeroing() {
  local device at=$((224 * 256)) # blocks
  device=$(namespace "$NQN" 1)
  fill $at 1024
  blkdiscard -o $(((at + 8) * 4096)) -l $((64 * 4096)) "$device"
  zeros $((at + 8)) 64
  blkdiscard -z -o $(((at + 128) * 4096)) -l $((64 * 4096)) "$device"
  zeros $((at + 128)) 64
  fallocate -z -o $(((at + 256) * 4096)) -l $mib "$device"
  zeros $((at + 256)) 256
  nvme write-zeroes "$device" -s $((at + 640)) -c 7
  zeros $((at + 640)) 8
  nvme dsm "$device" --ad -s $((at + 700)),$((at + 710)) -b 2,3
  zeros $((at + 700)) 2
  zeros $((at + 710)) 3
  nvme flush "$device" -n 1
}

read_write_compare() {
  local device at=$((240 * 256))
  device=$(namespace "$NQN" 1)
  head -c 65536 /dev/urandom > "$work/data"
  nvme write "$device" -s $at -c 15 -z 65536 -d "$work/data"
  nvme read "$device" -s $at -c 15 -z 65536 -d "$work/back"
  cmp "$work/data" "$work/back"
  refuses "reading past the end" "$(status 'LBA Out of Range')" nvme read "$device" -s $((BLOCKS - 1)) -c 1 -z 8192 -d "$work/back"
  [[ $STRICT == no ]] && return
  nvme compare "$device" -s $at -c 15 -z 65536 -d "$work/data"
  printf '\1\2\3\4' | dd of="$work/data" bs=1 seek=65532 conv=notrunc
  refuses "comparing with other data" 'Compare Failure' nvme compare "$device" -s $at -c 15 -z 65536 -d "$work/data"
}

# Verify, Write Uncorrectable and Copy, which the kernel does not use by itself.
verify_mark_copy() {
  [[ $STRICT == no ]] && return
  local device at=$((248 * 256))
  device=$(namespace "$NQN" 1)
  head -c 131072 /dev/urandom > "$work/data"
  nvme write "$device" -s $at -c 31 -z 131072 -d "$work/data"
  nvme verify "$device" -s $at -c 31
  refuses "verifying past the end" "$(status 'LBA Out of Range')" nvme verify "$device" -s $((BLOCKS - 1)) -c 1
  # Two ranges, the later one first, to one place.
  nvme copy "$device" --sdlba=$((at + 64)) --slbs=$((at + 16)),$at --blocks=15,15
  nvme read "$device" -s $((at + 64)) -c 31 -z 131072 -d "$work/back"
  { tail -c 65536 "$work/data"; head -c 65536 "$work/data"; } | cmp - "$work/back"
  nvme write-uncor "$device" -s $((at + 8)) -c 1
  refuses "reading what is marked" "$(status 'Unrecovered Read Error')" nvme read "$device" -s $((at + 8)) -c 0 -z 4096 -d "$work/back"
  refuses "verifying what is marked" "$(status 'Unrecovered Read Error')" nvme verify "$device" -s $at -c 15
  refuses "copying what is marked" "$(status 'Unrecovered Read Error')" \
    nvme copy "$device" --sdlba=$((at + 64)) --slbs=$at --blocks=15
  nvme write "$device" -s $at -c 31 -z 131072 -d "$work/data"
  nvme verify "$device" -s $at -c 31
  nvme read "$device" -s $at -c 31 -z 131072 -d "$work/back"
  cmp "$work/data" "$work/back"
}

reset() {
  nvme reset "$(controller "$NQN")"
  until_true 20 "a live controller after the reset" live "$NQN"
}

# Longer than a short keep alive time-out without a command of the user's.
stay_connected() {
  local before keep_alive=6
  disconnect "$NQN"
  connect "$NQN"
  before=$(dmesg | wc -l)
  sleep $((keep_alive + 3))
  live "$NQN" || fail "a live controller after $((keep_alive + 3)) idle seconds"
  equal "the number of lines in the kernel's log" "$(dmesg | wc -l)" "$before"
}

connect_with_digests() {
  connect "$NQN" --hdr-digest --data-digest
}

second_namespace() {
  local device
  until_true 20 "namespace 2 of $NQN appears" present "$NQN" 2
  device=$(namespace "$NQN" 2)
  equal "the block size of namespace 2" "$(blockdev --getss "$device")" 512
  fio --name=null --filename="$device" --size=4M --bs=512 --iodepth=32 --rw=randrw --ioengine=libaio --direct=1 --number_ios=2000 --minimal
  fio --name=null --filename="$device" --size=4M --bs=128k --iodepth=16 --rw=randrw --ioengine=libaio --direct=1 --minimal
  nvme flush "$device" -n 2
}

# The job of benches/fio for this initiator, as its matrix runs it.
fio_job() {
  local device rw
  device=$(namespace "$NQN" 2)
  export DEVICE=$device RUNTIME=2 RAMP=1 CPUS=0,1
  for rw in "randread 4k 32 1" "randwrite 4k 128 2" "randrw 128k 8 2"; do
    read -r RW BS DEPTH JOBS <<< "$rw"
    export RW BS DEPTH JOBS
    fio "$FIO_JOBS/linux.fio" > "$work/fio" || { cat "$work/fio"; return 1; }
    holds "what fio says" "$(cat "$work/fio")" "rw=$RW.*ioengine=io_uring, iodepth=$DEPTH\$"
    holds "what fio says" "$(cat "$work/fio")" 'issued rwts: total=[0-9,]*[1-9][0-9,]* '
    holds "what fio says" "$(cat "$work/fio")" 'err= 0:'
  done
}

# Both at once: two controllers, the second with 512-byte blocks and header digests only.
second_subsystem() {
  local device
  connect "$NQN2" --hdr-digest
  device=$(namespace "$NQN2" 1)
  equal "the block size of the second subsystem's namespace" "$(blockdev --getss "$device")" 512
  fio_verify "$device" 0 1 512 32
  fio_verify "$device" 4 8 128k 16
  fio_verify "$(namespace "$NQN" 1)" 128 8 16k 32 &
  fio_verify "$device" 16 8 16k 32
  wait $!
  disconnect "$NQN2"
  live "$NQN" || fail "that the first controller outlives the second"
}

gone() {
  equal "the list of controllers" "$(ls /sys/class/nvme)" ""
}

# Lines of a host that is content. Everything else that speaks of NVMe, or of a failed request, is a complaint.
content='nvme nvme[0-9]+: (new ctrl: NQN "|Removing ctrl: NQN "|creating [0-9]+ I/O queues\.$|mapped [0-9]+/[0-9]+/[0-9]+ default/read/poll queues\.$|resetting controller$|rescanning namespaces\.$)'
content+='|EXT4-fs \(nvme[0-9]+n[0-9]+\): (mounted filesystem|unmounting filesystem)'
[[ $STRICT == no ]] && content+='|nvmet: (creating|adding|enabling)|nvmet_tcp: enabling' # the kernel's target in the same log
refused='nvme nvme[0-9]+: Connect Invalid Data Parameter, subsysnqn "'"$NQN"'-not-there"$' # by refuse_unknown_subsystem
refused+='|nvme nvme[0-9]+: failed to connect queue: 0 ret=[0-9]+$'

silent_kernel() {
  local lines complaints
  lines=$(dmesg | grep -E '(^|[^a-z])nvme([^t]|$)|blk_update_request|critical .* error|I/O error|EXT4-fs|JBD2|hung task|'"$kernel_fault" || true)
  echo "$lines"
  [[ -n $lines ]] || fail "some lines of the kernel about NVMe"
  complaints=$(without_unsent_keep_alives <<< "$lines" | grep -Ev "$content|$refused" || true)
  [[ -z $complaints ]] || fail "no complaint of the kernel, but it says:" $'\n'"$complaints"
  for complaint in "Connect Invalid Data Parameter" "failed to connect queue"; do
    equal "the number of lines with '$complaint'" "$(grep -c "$complaint" <<< "$lines")" 1
  done
}

echo "seed: $SEED"
step "discover" discover
step "discover persistently" persistent_discovery
step "refuse an unknown subsystem" refuse_unknown_subsystem
step "connect" connect "$NQN"
step "list" list
step "identify the controller" identify_controller
step "identify the namespaces" identify_namespaces
step "read the logs" read_logs
step "read the features" read_features
step "identify everything" identify_everything
step "read every log" read_every_log
step "read every feature" read_every_feature
step "abort nothing" abort_nothing
step "make a file system" make_file_system
step "copy a tree" copy_tree
step "verify the tree" verify_tree
step "fio --verify" fio_verify_sizes
step "fio notices damage" fio_notices_damage
step "zero" zeroing
step "read, write, compare" read_write_compare
step "verify, mark, copy" verify_mark_copy
step "protect from writes" protect_writes
step "reset" reset
step "verify the tree after the reset" verify_tree
step "stay connected" stay_connected
step "disconnect" disconnect "$NQN"
step "connect with digests" connect_with_digests
step "verify the tree with digests" verify_tree
step "fio --verify with digests" fio_verify_sizes
step "second namespace" second_namespace
[[ -z ${FIO_JOBS:-} ]] || step "fio's job for Linux" fio_job
step "second subsystem" second_subsystem
step "reset with digests" reset
step "verify the tree again" verify_tree
step "disconnect again" disconnect "$NQN"
step "everything is gone" gone
step "silent kernel" silent_kernel
cat "$work/step"
