#!/bin/bash
# Two Linux hosts in one machine that share a namespace by persistent reservations, while the target is killed and started again.
# Runs in the guest, as root, on a kernel with nvme_core.multipath=N: each host has a block device of its own.
#
# Told by the environment:
#   ADDRESS, PORT      where the target listens
#   NQN                a subsystem with namespace 1: 4,096-byte blocks, at least 64 MiB, reads zeros where deallocated; nobody is
#                      registered there. Its reservations persist; what is written need not.
#
# To have the target killed and started again, the script creates /mnt/kill-N (N = 1, 2, ...); whoever reads the folder on the
# other side answers with the new target's port in /mnt/port-N.
set -uo pipefail
# shellcheck source=tests/vm/steps.sh
. "$(dirname "$0")/steps.sh"

: "${ADDRESS:?}" "${PORT:?}" "${NQN:?}"
hostid_a=11111111-2222-3333-4444-5555555555aa
hostid_b=bbbbbbbb-6666-7777-8888-9999999999bb
conflict='Reservation Conflict'
block=4096
# What a block is full of: `printf` understands them.
byte_a='\252'
byte_b='\273'
# Block devices of the hosts; `connect` finds them.
A='' B=''

# Prints the block device of the host with this identifier, or nothing: device HOSTID
device() {
  local at
  for at in /sys/class/nvme/nvme*; do
    [[ -e $at/hostid && $(< "$at/hostid") == "$1" ]] || continue
    at=$(grep -lx 1 "$at"/nvme*n*/nsid 2> /dev/null) || continue
    echo "/dev/$(basename "$(dirname "$at")")"
  done
}

present() { [[ -b $(device "$1") ]]; }
# controller DEVICE: its folder in sysfs
controller() { realpath "/sys/block/$(basename "$1")/device"; }
cntlid() { cat "$(controller "$1")/cntlid"; }
state_is() { [[ $(< "$(controller "$1")/state") == "$2" ]]; }

# connect_host HOSTID PORT. Not by nvme-cli, which knows one host only: to it, the second is "already connected".
connect_host() {
  local host="hostid=$1,hostnqn=nqn.2014-08.org.nvmexpress:uuid:$1"
  echo "transport=tcp,traddr=$ADDRESS,trsvcid=$2,nqn=$NQN,$host,nr_io_queues=2,reconnect_delay=2,keep_alive_tmo=$keep_alive" \
    > /dev/nvme-fabrics
  until_true 20 "namespace 1 of host $1 appears" present "$1"
}

connect() {
  connect_host $hostid_a "$1"
  connect_host $hostid_b "$1"
  [[ $(device $hostid_a) != "$(device $hostid_b)" ]] || fail "a device for each host"
}

disconnect() {
  local at
  for at in "$A" "$B"; do
    nvme disconnect -d "$(basename "$(controller "$at")")"
  done
  equal "the list of controllers" "$(ls /sys/class/nvme)" ""
}

# The four commands: NAME DEVICE OPTION ...
register() { nvme resv-register "$1" -n 1 "${@:2}"; }
acquire() { nvme resv-acquire "$1" -n 1 "${@:2}"; }
release() { nvme resv-release "$1" -n 1 "${@:2}"; }
report() { nvme resv-report "$1" -n 1 --eds; }

# conflicts WHAT COMMAND ...
conflicts() { refuses "$1" "$conflict" "${@:2}"; }

# entry DEVICE HOSTID RCSTS KEY: how `status_is` wants a registrant; the key in hexadecimal digits
entry() { echo "$(cntlid "$1") $3 $4 ${2//-/}"; }

# Prints a report in a line for the head, "GENERATION rtype R regctl N ptpls P", and one for each entry, sorted.
flat() {
  report "$1" | tr '\t' ' ' | awk '
    {sub(/^ +/, ""); value = $NF}
    $1 == "gen" {head = value}
    $1 ~ /^(rtype|regctl|ptpls)$/ {head = head " " $1 " " value}
    $1 == "cntlid" {entry = value}
    $1 ~ /^(rcsts|rkey)$/ {entry = entry " " value}
    $1 == "hostid" {entries[count++] = entry " " value}
    END {print head; for (at = 0; at < count; at++) print entries[at] | "sort"}'
}

generation() { flat "$A" | head -n 1 | cut -d ' ' -f 1; }

# status_is GENERATION RTYPE PTPLS [ENTRY ...]: B is told so, whatever it may do, and nothing else
status_is() {
  local wanted="$1 rtype $2 regctl $(($# - 3)) ptpls $3"
  (($# == 3)) || wanted+=$'\n'$(printf '%s\n' "${@:4}" | sort)
  equal "the report" "$(flat "$B")" "$wanted"
}

# Fills blocks with one byte: fill DEVICE FIRST-BLOCK BLOCKS BYTE
fill() {
  head -c $(($3 * block)) /dev/zero | tr '\0' "$4" | dd of="$1" bs=$(($3 * block)) seek=$(($2 * block)) iflag=fullblock \
    oflag=direct,seek_bytes
}
get() { dd if="$1" of=/dev/null bs=$block skip="$2" count=1 iflag=direct; }
# holds_only DEVICE FIRST-BLOCK BLOCKS BYTE
holds_only() {
  head -c $(($3 * block)) /dev/zero | tr '\0' "$4" > "$work/wanted"
  dd if="$1" bs=$block skip="$2" count="$3" iflag=direct status=none | cmp - "$work/wanted" \
    || fail "$3 blocks at $2 hold nothing but $4"
}

# `blkdiscard -f` does not read first, as a fenced host may not.
may_read() { get "$1" 0; }
may_not_read() { refuses "a read of $1" 'Invalid exchange' get "$1" 0; }
may_write() {
  fill "$1" 8 1 "$byte_b"
  holds_only "$A" 8 1 "$byte_b"
  blkdiscard -f -o $((8 * block)) -l $block "$1"
  fill "$1" 8 1 "$byte_a"
  fallocate -z -o $((8 * block)) -l $block "$1"
  holds_only "$A" 8 1 '\0'
}
# Refused, and what the other host wrote is still there.
may_not_write() {
  fill "$A" 16 4 "$byte_a"
  refuses "a write of $1" 'Invalid exchange' fill "$1" 16 1 "$byte_b"
  refuses "a discard of $1" 'Invalid exchange' blkdiscard -f -o $((17 * block)) -l $block "$1"
  refuses "zeroing by $1" 'Invalid exchange' fallocate -z -o $((18 * block)) -l $block "$1"
  holds_only "$A" 16 4 "$byte_a"
}

# The oldest notice in the log page of a controller: "type nsid", or "0 0". Its removal is the reading.
notice() {
  nvme get-log "$(character_device "$1")" --log-id=0x80 --log-len=64 --raw-binary > "$work/notice"
  od -An -j 8 -N 8 -t u1 "$work/notice" | awk '{print $1, $5}'
}
character_device() { echo "/dev/$(basename "$(controller "$1")")"; }
notices_are() {
  local at=$1 wanted
  shift
  for wanted in "$@" "0 0"; do
    equal "the notice to $at" "$(notice "$at")" "$wanted"
  done
}

recognised() {
  local at text
  for at in "$A" "$B"; do
    text=$(nvme id-ctrl -H "$(character_device "$at")")
    holds "id-ctrl -H" "$text" 'Reservations Supported'
    holds "id-ctrl -H" "$text" '128-bit Host Identifier Supported'
    holds "id-ns" "$(nvme id-ns "$at" -n 1)" '^rescap *: 0xff$'
  done
  status_is "$(generation)" 0 0
}

# A is the holder, B everybody else: a stranger, then a registrant.
all_of_type() {
  local type=$1 key_a key_b gen rcsts_b=0
  key_a=$(printf 'a%015x' "$type")
  key_b=$(printf 'ffffffffffffff%02x' $((248 + type)))
  ((type < 5)) || rcsts_b=1
  gen=$(generation)

  register "$A" --rrega=0 --nrkey=0x"$key_a" --cptpl=3
  status_is $((gen + 1)) 0 1 "$(entry "$A" $hostid_a 0 "$key_a")"
  conflicts "acquiring with a wrong key" acquire "$A" --racqa=0 --crkey=0x1 --rtype="$type"
  conflicts "acquiring without a registration" acquire "$B" --racqa=0 --crkey=0x"$key_a" --rtype="$type"
  acquire "$A" --racqa=0 --crkey=0x"$key_a" --rtype="$type"
  conflicts "acquiring another type" acquire "$A" --racqa=0 --crkey=0x"$key_a" --rtype=$((type % 6 + 1))
  status_is $((gen + 1)) "$type" 1 "$(entry "$A" $hostid_a 1 "$key_a")"

  may_write "$A"
  may_not_write "$B"
  case $type in
    1 | 3 | 5) may_read "$B" ;;
    *) may_not_read "$B" ;;
  esac
  conflicts "releasing without a registration" release "$B" --rrela=0 --crkey=0x"$key_a" --rtype="$type"
  conflicts "clearing without a registration" release "$B" --rrela=1 --crkey=0x"$key_a"

  register "$B" --rrega=0 --nrkey=0x"$key_b"
  conflicts "registering another key" register "$B" --rrega=0 --nrkey=0x77
  conflicts "leaving with a wrong key" register "$B" --rrega=1 --crkey=0x77
  case $type in
    1) may_read "$B" && may_not_write "$B" ;;
    2) may_not_read "$B" && may_not_write "$B" ;;
    *) may_read "$B" && may_write "$B" ;;
  esac
  if ((type < 5)); then
    conflicts "acquiring what another holds" acquire "$B" --racqa=0 --crkey=0x"$key_b" --rtype="$type"
    release "$B" --rrela=0 --crkey=0x"$key_b" --rtype="$type" # succeeds and changes nothing
  fi
  status_is $((gen + 2)) "$type" 1 "$(entry "$A" $hostid_a 1 "$key_a")" "$(entry "$B" $hostid_b $rcsts_b "$key_b")"
  notices_are "$B"

  conflicts "releasing with a wrong key" release "$A" --rrela=0 --crkey=0x1 --rtype="$type"
  refuses "releasing another type" 'Invalid Field' release "$A" --rrela=0 --crkey=0x"$key_a" --rtype=$((type % 6 + 1))
  release "$A" --rrela=0 --crkey=0x"$key_a" --rtype="$type"
  status_is $((gen + 2)) 0 1 "$(entry "$A" $hostid_a 0 "$key_a")" "$(entry "$B" $hostid_b 0 "$key_b")"
  may_write "$B"
  if ((type < 3)); then notices_are "$B"; else notices_are "$B" "2 1"; fi
  release "$A" --rrela=1 --crkey=0x"$key_a"
  status_is $((gen + 3)) 0 1
  notices_are "$B" "3 1"
  notices_are "$A"
}

# writes_of DEVICE: how many it has completed, failures included
writes_of() { awk '{print $5}' "/sys/block/$(basename "$1")/stat"; }
has_written() { (($(writes_of "$1") >= $2)); }

# Writes B's byte to 64 blocks at 1024 until a write fails, 16 at a time.
hammer() {
  fio --name=victim --filename="$B" --offset=4M --size=256k --bs=4k --iodepth=16 --rw=randwrite --ioengine=libaio --direct=1 \
    --buffer_pattern=0xbb --time_based --runtime=120 --eta=never --minimal
}

# B writes as fast as it can; A evicts it in the middle; nothing of B's lands after the command has completed.
# evict GENERATION RTYPE-AFTERWARDS ACQUIRE-OPTION ...: with both registered
evict() {
  local gen=$1 rtype=$2 victim writes
  shift 2
  writes=$(writes_of "$B")
  hammer > "$work/victim" 2>&1 &
  victim=$!
  until_true 30 "B has written" has_written "$B" $((writes + 200))
  kill -0 $victim || fail "B goes on writing"
  acquire "$A" --crkey=0xa0a0 "$@"
  fill "$A" 1024 64 "$byte_a"
  if wait $victim; then fail "B's writes fail"; fi
  holds "the last words of the victim" "$(< "$work/victim")" 'write.*Invalid exchange|Invalid exchange.*write'
  holds_only "$A" 1024 64 "$byte_a"
  status_is $((gen + 1)) "$rtype" 1 "$(entry "$A" $hostid_a 1 a0a0)"
  may_not_write "$B"
}

# evict_holder RACQA: B holds, A is a registrant, preempts it and takes the reservation over
evict_holder() {
  local gen
  register "$A" --rrega=0 --nrkey=0xa0a0
  register "$B" --rrega=0 --nrkey=0xb0b0
  acquire "$B" --racqa=0 --crkey=0xb0b0 --rtype=3
  gen=$(generation)
  conflicts "preempting with a wrong key" acquire "$A" --racqa="$1" --crkey=0x1 --prkey=0xb0b0 --rtype=1
  evict "$gen" 1 --racqa="$1" --prkey=0xb0b0 --rtype=1
  notices_are "$B" "1 1"
  release "$A" --rrela=1 --crkey=0xa0a0
  notices_are "$B"
}

# A holds and evicts the registrant B: the reservation stays as it is.
evict_registrant() {
  local gen
  register "$A" --rrega=0 --nrkey=0xa0a0
  register "$B" --rrega=0 --nrkey=0xb0b0
  acquire "$A" --racqa=0 --crkey=0xa0a0 --rtype=3
  gen=$(generation)
  evict "$gen" 3 --racqa=2 --prkey=0xb0b0 --rtype=1
  notices_are "$B" "1 1"
  release "$A" --rrela=1 --crkey=0xa0a0
}

replace_key() {
  local gen
  gen=$(generation)
  register "$A" --rrega=0 --nrkey=0xa1
  acquire "$A" --racqa=0 --crkey=0xa1 --rtype=2
  conflicts "replacing with a wrong key" register "$A" --rrega=2 --crkey=0xa2 --nrkey=0xa3
  register "$A" --rrega=2 --crkey=0xa1 --nrkey=0xa3
  register "$A" --rrega=2 --iekey --nrkey=0xa4
  status_is $((gen + 3)) 2 1 "$(entry "$A" $hostid_a 1 a4)"
  register "$A" --rrega=1 --crkey=0xa4 # the holder leaves: nobody holds
  status_is $((gen + 4)) 0 1
  may_write "$B"
}

# Feature 82h, bit 2: B does not want to hear of releases.
mask_notices() {
  register "$A" --rrega=0 --nrkey=0xa1
  register "$B" --rrega=0 --nrkey=0xb1
  acquire "$A" --racqa=0 --crkey=0xa1 --rtype=4
  nvme set-feature "$B" -n 1 -f 0x82 -v 0x4
  holds "feature 82h" "$(nvme get-feature "$B" -n 1 -f 0x82)" 'Current value: *0?x?0*4$'
  release "$A" --rrela=0 --crkey=0xa1 --rtype=4
  notices_are "$B"
  nvme set-feature "$B" -n 1 -f 0x82 -v 0
  release "$A" --rrela=1 --crkey=0xa1
  notices_are "$B" "3 1"
}

# Feature 83h is one for all hosts, and the same as CPTPL.
switch_persistence() {
  local at value
  for value in 0 1; do
    nvme set-feature "$A" -n 1 -f 0x83 -v $value
    for at in "$A" "$B"; do
      holds "feature 83h" "$(nvme get-feature "$at" -n 1 -f 0x83)" "Current value: *0?x?0*$value\$"
    done
    status_is "$(generation)" 0 $value
  done
  register "$A" --rrega=0 --nrkey=0xa1 --cptpl=2
  holds "feature 83h" "$(nvme get-feature "$B" -n 1 -f 0x83)" 'Current value: *0?x?0*0$'
  register "$A" --rrega=1 --crkey=0xa1 --cptpl=3
  holds "feature 83h" "$(nvme get-feature "$B" -n 1 -f 0x83)" 'Current value: *0?x?0*1$'
}

# A report without what a restart changes.
lasting() { flat "$A" | sed '2,$ s/^[0-9a-fx]* //' | sort; }

# Has the target killed, under both hosts, and connects them to the one that comes after it: restart N
restart() {
  local port=/mnt/port-$1
  : > "/mnt/kill-$1"
  until_true 60 "the target is started again" test -s "$port"
  until_true 60 "A notices the end of the target" state_is "$A" connecting
  until_true 60 "B notices the end of the target" state_is "$B" connecting
  disconnect
  connect "$(< "$port")"
}

hold_exclusively() {
  register "$A" --rrega=0 --nrkey=0xffffffffffffffff
  register "$B" --rrega=0 --nrkey=0x8000000000000001 --cptpl=3
  acquire "$A" --racqa=0 --crkey=0xffffffffffffffff --rtype=1
  lasting > "$work/before"
}

still_held_exclusively() {
  local gen
  equal "the report after the restart" "$(lasting)" "$(< "$work/before")"
  gen=$(generation)
  status_is "$gen" 1 1 "$(entry "$A" $hostid_a 1 ffffffffffffffff)" "$(entry "$B" $hostid_b 0 8000000000000001)"
  may_write "$A"
  may_read "$B"
  may_not_write "$B"
  conflicts "acquiring what another holds" acquire "$B" --racqa=0 --crkey=0x8000000000000001 --rtype=1
  notices_are "$B"
}

# All registrants hold; the host that acquired leaves.
hold_without_the_acquirer() {
  local gen
  gen=$(generation)
  acquire "$B" --racqa=1 --crkey=0x8000000000000001 --prkey=0xffffffffffffffff --rtype=5
  register "$A" --rrega=0 --nrkey=0xa5
  register "$B" --rrega=1 --crkey=0x8000000000000001
  status_is $((gen + 3)) 5 1 "$(entry "$A" $hostid_a 1 a5)"
  lasting > "$work/before"
}

still_held_without_the_acquirer() {
  equal "the report after the restart" "$(lasting)" "$(< "$work/before")"
  status_is "$(generation)" 5 1 "$(entry "$A" $hostid_a 1 a5)"
  may_write "$A"
  may_not_write "$B"
  release "$A" --rrela=1 --crkey=0xa5
  may_write "$B"
}

# Lines of hosts that are content, and lines that were provoked. Everything else that speaks of NVMe, or of a failed request,
# is a complaint.
content='nvme nvme[0-9]+: (new ctrl: NQN "|Removing ctrl: NQN "|creating [0-9]+ I/O queues\.$|mapped [0-9]+/[0-9]+/[0-9]+ default/read/poll queues\.$)'
# Without multipathing, two devices of one namespace are said to be out of date.
content+='|Found shared namespace 1, but multipathing not supported|Support for shared namespaces without CONFIG_NVME_MULTIPATH'
provoked='reservation conflict error, dev nvme[0-9]+n[0-9]+, sector [0-9]+ op 0x[0-9]:\((READ|WRITE|DISCARD|WRITE_ZEROES)\)'
provoked+='|nvme[0-9]+n[0-9]+: .* \(sct 0x0 / sc 0x83\) DNR'
provoked+='|[a-z_]+: [0-9]+ callbacks suppressed'
killed='nvme nvme[0-9]+: (starting error recovery|Reconnecting in [0-9]+ seconds|failed to connect socket: -[0-9]+|Failed reconnect attempt|Property Set error: 880,)' # 370h: no path

# kernel_says_no_more_than REGEX
kernel_says_no_more_than() {
  local lines complaints
  lines=$(dmesg | grep -v 'ommand line: ' \
    | grep -E '(^|[^a-z])nvme([^t]|$)|blk_print|reservation conflict|critical .* error|I/O error|hung task|'"$kernel_fault" || true)
  echo "$lines"
  [[ -n $lines ]] || fail "some lines of the kernel about NVMe"
  complaints=$(without_unsent_keep_alives <<< "$lines" | grep -Ev "$1" || true)
  [[ -z $complaints ]] || fail "no complaint of the kernel, but it says:" $'\n'"$complaints"
  grep -E "reservation conflict error, dev $(basename "$B")" <<< "$lines" > /dev/null || fail "the kernel tells of B's conflicts"
  ! grep -E "conflict error, dev $(basename "$A"),|$(basename "$A"): .* sc 0x83" <<< "$lines" || fail "no conflict of A, which was never fenced"
}

find_devices() {
  A=$(device $hostid_a)
  B=$(device $hostid_b)
}

step "connect two hosts" connect "$PORT"
find_devices
step "recognise reservations" recognised
for type in 1 2 3 4 5 6; do
  step "type $type" all_of_type $type
done
step "replace a key" replace_key
step "mask notices" mask_notices
step "switch persistence" switch_persistence
step "preempt the holder while it writes" evict_holder 1
step "preempt and abort the holder while it writes" evict_holder 2
step "preempt and abort a registrant while it writes" evict_registrant
step "no complaint of the kernel" kernel_says_no_more_than "$content|$provoked"
step "hold exclusively" hold_exclusively
step "kill and start the target" restart 1
find_devices
step "still held exclusively" still_held_exclusively
step "hold without the acquirer" hold_without_the_acquirer
step "kill and start the target again" restart 2
find_devices
step "still held without the acquirer" still_held_without_the_acquirer
step "disconnect" disconnect
step "no complaint of the kernel to the end" kernel_says_no_more_than "$content|$provoked|$killed"
