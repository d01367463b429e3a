#!/bin/bash
# Runs linux_host.sh against the kernel's own NVMe/TCP target, both in this guest: what fails here is the story's fault.
set -euo pipefail
# shellcheck source=tests/vm/kernel_target.sh
. "$(dirname "$0")/kernel_target.sh"

export ADDRESS=127.0.0.1 PORT=4420 NQN=nqn.2026-11.io.corelane:disk0 NQN2=nqn.2026-11.io.corelane:disk1
export SERIAL=CL0001 MODEL=Corelane UUID=6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11 BLOCKS=65536
# The kernel's target lacks the Compare command and most features, and checks less.
export STRICT=no FEATURES="0x07 0x0b 0x0f"

null_device ram0 size=256 blocksize=4096 memory_backed=1 discard=1
null_device void size=1024 blocksize=512
null_device ram1 size=64 blocksize=512 memory_backed=1 discard=1
subsystem "$NQN" "$SERIAL" "$MODEL"
namespace "$NQN" 1 /dev/ram0 "$UUID"
namespace "$NQN" 2 /dev/void 0b7d8f3c-5a53-4c86-9a0f-2c3d1f0e4b22
subsystem "$NQN2" CL0002 "$MODEL"
namespace "$NQN2" 1 /dev/ram1 5d7a2f10-93c4-4f0d-8a35-7c1e9b6d0a33
listen "$ADDRESS" "$PORT" "$NQN" "$NQN2"

exec bash "$(dirname "$0")/linux_host.sh"
