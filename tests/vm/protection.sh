# shellcheck shell=bash
# Write protection as a Linux host sees it: a step of linux_host.sh, which has what it uses.

: "${work:?}"

read_only() { (($(blockdev --getro "$1") == $2)); }

# A namespace that a host protects is a read-only disk, also after a reset, until a host lifts it.
protect_writes() {
  [[ $STRICT == no ]] && return
  local device at=$((240 * 256))
  device=$(namespace "$NQN" 1)
  holds "id-ctrl" "$(nvme id-ctrl "$device")" '^nwpc *: (0x)?1$'
  nvme read "$device" -s $at -c 15 -z 65536 -d "$work/before"
  nvme set-feature "$device" -f 0x84 -n 1 --value=1
  until_true 20 "a read-only disk" read_only "$device" 1
  refuses "writing" "$(status '.*Write Protected')" nvme write "$device" -s $at -c 15 -z 65536 -d "$work/data"
  refuses "zeroing" "$(status '.*Write Protected')" nvme write-zeroes "$device" -s $at -c 15
  refuses "deallocating" "$(status '.*Write Protected')" nvme dsm "$device" --ad -s $at -b 16
  nvme flush "$device" -n 1
  nvme reset "$(controller "$NQN")"
  until_true 20 "a live controller after the reset" live "$NQN"
  read_only "$device" 1 || fail "a read-only disk after the reset"
  holds "the feature" "$(nvme get-feature "$device" -f 0x84 -n 1)" 'Current value: *0*x?0*1$'
  nvme read "$device" -s $at -c 15 -z 65536 -d "$work/after"
  cmp "$work/before" "$work/after" || fail "unchanged blocks"
  refuses "a state that is not supported" "$(status 'Invalid Field')" nvme set-feature "$device" -f 0x84 -n 1 --value=3
  nvme set-feature "$device" -f 0x84 -n 1 --value=0
  until_true 20 "a disk that can be written" read_only "$device" 0
  nvme write "$device" -s $at -c 15 -z 65536 -d "$work/data"
}
