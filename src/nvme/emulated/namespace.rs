//! One namespace: its medium, its reservations, and what it tells of itself.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros, IntoBytes};

use super::medium::Medium;
use super::options::{NamespaceOptions, Options};
use super::reservations::Reservations;
use crate::mem::ExtentError;
use crate::nvme::CopyLimits;
use crate::spec::identify::IDENTIFY_BYTES;
use crate::spec::identify::descriptor::{DescriptorHead, IdentifierType};
use crate::spec::identify::namespace::{Dlfeat, IdentifyNamespace, LbaFormat, Rescap};

pub(super) struct Namespace {
    pub(super) nsid: u32,
    pub(super) blocks: u64,
    pub(super) block_size: u32,
    pub(super) attached: bool,
    pub(super) medium: Medium,
    pub(super) reservations: Reservations,
    options: NamespaceOptions,
    optional_commands: bool,
}

impl Namespace {
    pub(super) fn new(
        nsid: u32,
        options: &NamespaceOptions,
        controller: &Options,
    ) -> Result<Self, ExtentError> {
        assert!(options.block_size.is_power_of_two() && options.block_size >= 512 && options.blocks > 0);
        Ok(Self {
            nsid,
            blocks: options.blocks,
            block_size: options.block_size,
            attached: true,
            medium: Medium::new(options.blocks, options.block_size, controller.volatile_write_cache)?,
            reservations: Reservations::default(),
            options: *options,
            optional_commands: controller.optional_commands,
        })
    }

    /// What one Copy may ask for.
    pub(super) fn copy_limits(&self) -> Option<CopyLimits> {
        self.options.copy
    }

    /// Changes its size, up to what it had first.
    pub(super) fn resize(&mut self, blocks: u64) {
        assert!(blocks > 0 && blocks <= self.options.blocks);
        self.blocks = blocks;
    }

    /// Identify CNS 00h. Two formats are offered, of which the second is in use, so that nobody takes the first for it.
    pub(super) fn identify(&self) -> IdentifyNamespace {
        let mut page = IdentifyNamespace::new_zeroed();
        let blocks = U64::new(self.blocks);
        (page.nsze, page.ncap, page.nuse) = (blocks, blocks, blocks);
        let lbads = u8::try_from(self.block_size.trailing_zeros()).expect("a power of two below 2^32");
        page.nlbaf_z = 1;
        page.flbas = 1;
        page.lbaf[0] = LbaFormat { ms: U16::new(0), lbads: if lbads == 9 { 12 } else { 9 }, rp: 0 };
        page.lbaf[1] = LbaFormat { ms: U16::new(self.options.metadata), lbads, rp: 0 };
        page.dlfeat =
            Dlfeat::new().with_reads(Dlfeat::READS_ZEROS).with_write_zeroes_deallocates(true).into_bits();
        if self.optional_commands {
            page.rescap = Rescap::from_bits(0x7f).into_bits()
                | Rescap::new().with_ignore_existing_key(true).into_bits();
            if let Some(CopyLimits { range_blocks, blocks, ranges }) = self.options.copy {
                page.mssrl = U16::new(range_blocks);
                page.mcl = U32::new(blocks);
                page.msrc_z = u8::try_from(ranges - 1).expect("256 ranges at most");
            }
        }
        page
    }

    /// Identify CNS 03h.
    pub(super) fn descriptors(&self) -> [u8; IDENTIFY_BYTES] {
        let mut page = [0; IDENTIFY_BYTES];
        if !self.options.uuid.is_nil() {
            let head = DescriptorHead { nidt: IdentifierType::UUID, nidl: 16, reserved: [0; 2] };
            page[..4].copy_from_slice(head.as_bytes());
            page[4..20].copy_from_slice(self.options.uuid.as_bytes());
        }
        page
    }
}
