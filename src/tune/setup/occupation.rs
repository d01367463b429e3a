//! What a block device is used for, and what an operator does about it.

use std::fmt;

use serde::Serialize;

use super::block::Block;
use super::signature::Signature;

/// Where the kernel's own target is configured.
pub(super) const NVMET: &str = "/sys/kernel/config/nvmet/subsystems";

/// One thing that a block device, or what stands on it, is used for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Occupation {
    /// The device in question: a namespace, a partition, something that stands on one of them (`dm-0`, `md0`), or the
    /// controller itself.
    pub block: String,
    /// What it is used for.
    #[serde(flatten)]
    pub by: Use,
}

/// What a block device may be used for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "use", rename_all = "snake_case")]
pub enum Use {
    /// A mounted file system.
    Mount {
        /// Where it is mounted.
        at: String,
    },
    /// Swap space.
    Swap,
    /// Another block device stands on it.
    Holder {
        /// The kernel's name of that device, such as `dm-0`.
        holder: String,
        /// What it is.
        kind: Holding,
        /// What operators call it; the kernel's name where it has no other.
        name: String,
    },
    /// A superblock says that it belongs to something, assembled or not.
    Signature {
        /// What it belongs to.
        signature: Signature,
    },
    /// The kernel's own NVMe-oF target exports it.
    Export {
        /// NQN of the subsystem.
        subsystem: String,
    },
    /// A loop device stands on it.
    Loop {
        /// The kernel's name of that device.
        holder: String,
    },
    /// A process has it open.
    Open {
        /// Process identifier.
        pid: u32,
        /// Name of the program.
        program: String,
    },
    /// Something in the kernel has it for itself that none of the others names: a file system that is mounted in
    /// another mount namespace, or a member of a pool.
    Claimed,
}

/// What stands on a block device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Holding {
    /// A logical volume of LVM.
    Lvm,
    /// An encrypted device of cryptsetup.
    Crypt,
    /// A device with several paths.
    Multipath,
    /// Another device of the device-mapper.
    DeviceMapper,
    /// A RAID of the kernel.
    Raid,
    /// A cache of bcache.
    Cache,
    /// Something else.
    #[default]
    Other,
}

impl Occupation {
    pub(super) fn new(block: impl Into<String>, by: Use) -> Self {
        Self { block: block.into(), by }
    }

    /// Whether it is why a device can be claimed by nobody else. Programs, loop devices, the kernel's target and
    /// superblocks leave it open.
    pub(super) fn takes_all(&self) -> bool {
        matches!(self.by, Use::Mount { .. } | Use::Swap | Use::Holder { .. } | Use::Claimed)
    }

    /// For something that has the device for itself in the kernel, and is not to be seen.
    pub(super) fn claimed(block: &Block) -> Self {
        Self::new(&block.name, Use::Claimed)
    }
}

impl fmt::Display for Occupation {
    /// What it is used for, and what ends that.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { block, by } = self;
        match by {
            Use::Mount { at } => {
                let at = at.escape_debug();
                write!(formatter, "{block} is mounted at {at}; free it with: umount {at}")
            }
            Use::Swap => write!(formatter, "{block} is swap space; free it with: swapoff /dev/{block}"),
            Use::Holder { holder, kind, name } => {
                write!(
                    formatter,
                    "{block} is held by {kind} {name}; free it with: {}",
                    kind.release(holder, name)
                )
            }
            Use::Signature { signature } => {
                let remove = match signature {
                    Signature::LvmMember => "pvremove",
                    Signature::RaidMember => "mdadm --zero-superblock",
                };
                write!(
                    formatter,
                    "{block} is {signature}; if it is not needed there any more, this ends it: {remove} /dev/{block}"
                )
            }
            Use::Export { subsystem } => write!(
                formatter,
                "{block} is served by the kernel's target as {subsystem}; free it with: nvmetcli, or by writing 0 to \
                 \"enable\" of its namespace in {NVMET}"
            ),
            Use::Loop { holder } => {
                write!(formatter, "{block} is held by {holder}; free it with: losetup -d /dev/{holder}")
            }
            Use::Open { pid, program } => {
                write!(formatter, "{block} is open in process {pid} ({program}); end that process first")
            }
            Use::Claimed => write!(
                formatter,
                "{block} is held by something in the kernel, such as a file system that is mounted in a container, or a \
                 pool of ZFS; find it with lsblk and blkid, and end it"
            ),
        }
    }
}

impl fmt::Display for Holding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Lvm => "the LVM volume",
            Self::Crypt => "the encrypted device",
            Self::Multipath => "the multipath device",
            Self::DeviceMapper => "the device-mapper device",
            Self::Raid => "the RAID",
            Self::Cache => "the cache",
            Self::Other => "the device",
        })
    }
}

impl Holding {
    /// The command that ends it.
    fn release(self, holder: &str, name: &str) -> String {
        match self {
            Self::Lvm => format!("lvchange -an /dev/mapper/{name}"),
            Self::Crypt => format!("cryptsetup close {name}"),
            Self::Multipath => format!("multipath -f {name}"),
            Self::DeviceMapper => format!("dmsetup remove {name}"),
            Self::Raid => format!("mdadm --stop /dev/{holder}"),
            Self::Cache => format!("echo 1 > /sys/block/{holder}/bcache/stop"),
            Self::Other => format!("whatever made /dev/{holder}"),
        }
    }
}
