#!/bin/bash
# A PCI NVMe device goes from the kernel to vfio-pci and back, by `corelane setup`, and is refused while anything holds it.
#
# Wants to be told: CORELANE (the program, as the guest sees it). Leaves `free.json`, `mounted.json` and `bound.json`, what `status
# --json` says, in the shared folder. The machine needs CORELANE_VM_NVME.
# shellcheck source-path=SCRIPTDIR source=steps.sh
. ./steps.sh

address=$(cat /sys/class/nvme/nvme0/address)
group=$(basename "$(readlink "/sys/bus/pci/devices/$address/iommu_group")")
disk=/dev/nvme0n1
mkdir -p "$work/at"

setup() {
  "$CORELANE" setup "$@"
}

# Nothing of the device has changed.
with_the_kernel() {
  equal "driver" "$(basename "$(readlink "/sys/bus/pci/devices/$address/driver")")" nvme
  [[ -b $disk ]] || fail "$disk is there"
  [[ ! -e /dev/vfio/$group ]] || fail "/dev/vfio/$group is not there"
}

# bind_refuses REGEX
bind_refuses() {
  refuses "bind" "$1" setup bind "$address"
  refuses "bind" "nothing was changed" setup bind "$address"
  with_the_kernel
}

status() {
  local said
  said=$(setup status)
  holds "status" "$said" "^$address +1b36:0010 +nvme +$group .* QEMU NVMe Ctrl +nvme0n1 256MiB +no$"
  holds "status" "$said" "^IOMMU: +[0-9]+ groups, units: dmar0"
  holds "status" "$said" "^vfio-pci: +loaded; /dev/vfio/vfio: mode 0666"
  holds "status" "$said" "there are no huge pages: corelane setup hugepages 1024"
  holds "status" "$said" "to give it to programs, corelane setup bind $address"
  setup status --json > /mnt/free.json
}

hugepages() {
  equal "what hugepages says" "$(setup hugepages 64)" "64 huge pages of 2MiB"
  equal "nr_hugepages" "$(cat /proc/sys/vm/nr_hugepages)" 64
  equal "what hugepages says" "$(setup hugepages 32 --node 0)" "32 huge pages of 2MiB on node 0"
  refuses "hugepages" "[0-9]+ huge pages of 1GiB, not 8: .*compact_memory.*hugepagesz=1G hugepages=8" setup hugepages 8 --size 1GiB
  setup hugepages 0 --size 1GiB
  setup hugepages 16
  equal "nr_hugepages" "$(cat /proc/sys/vm/nr_hugepages)" 16
  refuses "hugepages" "no huge pages of 4MiB; it has: 2MiB" setup hugepages 1 --size 4MiB
  refuses "hugepages" "no NUMA node 7; it has: 0" setup hugepages 1 --node 7
}

strangers() {
  local other
  other=$(basename "$(echo /sys/bus/pci/devices/*:1f.0)")
  refuses "bind" "$other: is no NVMe I/O controller: its PCI class is 0601" setup bind "$other"
  refuses "bind" "0000:7f:00.0: there is no such PCI device" setup bind 0000:7f:00.0
  refuses "bind of two" "there is no such PCI device" setup bind "$address" 7f:00.0
  with_the_kernel
}

not_root() {
  # Its own copy: the shared folder is its owner's.
  install -m 755 "$CORELANE" "$work/corelane"
  chmod 755 "$work"
  refuses "bind" "permission denied; run as root" setpriv --reuid=65534 --clear-groups "$work/corelane" setup bind "$address"
  refuses "hugepages" "permission denied; run as root" setpriv --reuid=65534 --clear-groups "$work/corelane" setup hugepages 1
  with_the_kernel
}

mounted() {
  mkfs.ext4 -q -F $disk
  mount $disk "$work/at"
  bind_refuses "$address: is in use: nvme0n1 is mounted at $work/at; free it with: umount $work/at"
  setup status --json > /mnt/mounted.json
  umount "$work/at"
}

mounted_elsewhere() {
  local other
  unshare --mount sh -c "mount $disk $work/at && echo mounted > $work/ready && exec sleep 60" &
  other=$!
  while [[ ! -e $work/ready ]]; do sleep 0.1; done
  bind_refuses "nvme0n1 is held by something in the kernel"
  kill $other
  wait $other || true
}

partition() {
  addpart $disk 1 2048 102400
  mkfs.ext4 -q -F ${disk}p1
  mount ${disk}p1 "$work/at"
  bind_refuses "nvme0n1p1 is mounted at $work/at"
  umount "$work/at"
  delpart $disk 1
}

swap() {
  mkswap $disk
  swapon $disk
  bind_refuses "nvme0n1 is swap space; free it with: swapoff /dev/nvme0n1"
  swapoff $disk
}

mapped() {
  echo "0 100000 linear $disk 0" | dmsetup create layer --uuid LVM-test
  mkfs.ext4 -q -F /dev/mapper/layer || mkfs.ext4 -q -F /dev/dm-0
  mount -t ext4 /dev/dm-0 "$work/at"
  bind_refuses "nvme0n1 is held by the LVM volume layer"
  refuses "bind" "dm-0 is mounted at $work/at" setup bind "$address"
  umount "$work/at"
  dmsetup remove layer
}

members() {
  blkdiscard -f -z $disk
  printf 'LABELONE\1\0\0\0\0\0\0\0\0\0\0\0 \0\0\0LVM2 001' | dd of=$disk bs=512 seek=1 conv=notrunc,sync status=none
  bind_refuses "nvme0n1 is a physical volume of LVM \(LVM2_member\)"
  blkdiscard -f -z $disk
  printf '\xfc\x4e\x2b\xa9\1\0\0\0' | dd of=$disk bs=4096 seek=1 conv=notrunc,sync status=none
  bind_refuses "nvme0n1 is a member of a RAID \(linux_raid_member\)"
  blkdiscard -f -z $disk
}

opened() {
  tail -f /dev/null 3< $disk &
  bind_refuses "nvme0n1 is open in process $! \(tail\)"
  kill $!
  wait $! || true
}

taken() {
  mkfs.ext4 -q -F $disk
  mount $disk "$work/at"
  head -c 20M /dev/urandom > "$work/at/data"
  sha256sum < "$work/at/data" > "$work/sum"
  umount "$work/at"
  equal "what bind says" "$(setup bind "$address")" "$address: bound to vfio-pci; its IOMMU group is /dev/vfio/$group"
  equal "driver" "$(basename "$(readlink "/sys/bus/pci/devices/$address/driver")")" vfio-pci
  [[ -c /dev/vfio/$group ]] || fail "/dev/vfio/$group is there"
  [[ ! -e $disk ]] || fail "$disk is gone"
  equal "what bind says" "$(setup bind "${address#0000:}")" \
    "$address: was bound to vfio-pci already; its IOMMU group is /dev/vfio/$group"
  holds "status" "$(setup status)" "^$address: /dev/vfio/$group: mode 0600, owner 0:0, you may use it"
  setup status --json > /mnt/bound.json
}

driven() {
  tail -f /dev/null 3< "/dev/vfio/$group" &
  refuses "unbind" "$address: process $! \(tail\) has /dev/vfio/$group open; end that process first" setup unbind "$address"
  equal "driver" "$(basename "$(readlink "/sys/bus/pci/devices/$address/driver")")" vfio-pci
  kill $!
  wait $! || true
}

given_back() {
  equal "what unbind says" "$(setup unbind "$address")" "$address: unbound from vfio-pci, and back with the driver nvme"
  # The kernel looks for namespaces in the background.
  for _ in {1..100}; do
    [[ ! -b $disk ]] || break
    sleep 0.1
  done
  with_the_kernel
  equal "driver_override" "$(cat "/sys/bus/pci/devices/$address/driver_override")" "(null)"
  mount $disk "$work/at"
  sha256sum < "$work/at/data" | cmp - "$work/sum"
  umount "$work/at"
  equal "what unbind says" "$(setup unbind "$address")" "$address: was not taken: it is with the driver nvme"
}

step "status shows a free device and says what is missing" status
step "huge pages come and go" hugepages
step "other devices are refused" strangers
step "who is not root is told so" not_root
step "a mounted file system keeps the device" mounted
step "one that is mounted elsewhere does too" mounted_elsewhere
step "a mounted partition does too" partition
step "swap keeps the device" swap
step "a volume on it keeps the device, and what is on that" mapped
step "superblocks of LVM and RAID keep the device" members
step "an open file keeps the device" opened
step "a free device goes to vfio-pci" taken
step "a program that drives it keeps it there" driven
step "it goes back, with its data" given_back
step "and again" taken
step "there and back" given_back
