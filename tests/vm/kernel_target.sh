# shellcheck shell=bash
# The kernel's own NVMe/TCP target, by way of configfs.

nvmet=/sys/kernel/config/nvmet

# null_device NAME [ATTRIBUTE=VALUE ...]: /dev/NAME, of null_blk; `size` is in MiB.
null_device() {
  local at=/sys/kernel/config/nullb/$1 pair
  shift
  mkdir "$at"
  for pair in "$@"; do
    echo "${pair#*=}" > "$at/${pair%%=*}"
  done
  echo 1 > "$at/power"
}

# subsystem NQN SERIAL MODEL: for every host
subsystem() {
  mkdir "$nvmet/subsystems/$1"
  echo 1 > "$nvmet/subsystems/$1/attr_allow_any_host"
  echo "$2" > "$nvmet/subsystems/$1/attr_serial"
  echo "$3" > "$nvmet/subsystems/$1/attr_model"
}

# namespace NQN NSID DEVICE UUID
namespace() {
  local at=$nvmet/subsystems/$1/namespaces/$2
  mkdir "$at"
  echo "$3" > "$at/device_path"
  echo "$4" > "$at/device_uuid"
  echo 1 > "$at/enable"
}

# listen ADDRESS PORT NQN ...
listen() {
  local at=$nvmet/ports/1 nqn
  mkdir "$at"
  echo tcp > "$at/addr_trtype"
  echo ipv4 > "$at/addr_adrfam"
  echo "$1" > "$at/addr_traddr"
  echo "$2" > "$at/addr_trsvcid"
  shift 2
  for nqn in "$@"; do
    ln -s "$nvmet/subsystems/$nqn" "$at/subsystems/$nqn"
  done
}
