#!/bin/bash
# A machine without an IOMMU: its devices stay with the kernel, and a target says why.
#
# Wants to be told: CORELANE (the program, as the guest sees it).
# shellcheck source-path=SCRIPTDIR source=vfio_steps.sh
. ./vfio_steps.sh

refused() {
  local address
  address=$(address_of EMULATED0)
  configure "{\"type\": \"nvme\", \"address\": \"$address\"}"
  refuses "serve" "$address is behind no IOMMU, so it must not be given to a program: .*intel_iommu=on" \
    "$CORELANE" serve --config "$work/corelane.json" --state-dir "$work/state"
  [[ -b /dev/nvme0n1 ]] || fail "the kernel has its disk"
}

step "a device behind no IOMMU is refused" refused
