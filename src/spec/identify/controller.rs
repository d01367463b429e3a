//! Identify Controller, CNS 01h (NVMe base 2.1, section 5.1.13.2.1).

use std::mem::offset_of;

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The structure of 4,096 bytes. Fields of features that are far from this target are kept together as
/// reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IdentifyController {
    /// VID: PCI vendor; 0 where there is none.
    pub vid: U16,
    /// SSVID: PCI subsystem vendor.
    pub ssvid: U16,
    /// SN: serial number, filled with spaces.
    pub sn: [u8; 20],
    /// MN: model number, filled with spaces.
    pub mn: [u8; 40],
    /// FR: firmware revision, filled with spaces.
    pub fr: [u8; 8],
    /// RAB: recommended arbitration burst, as a power of two.
    pub rab: u8,
    /// IEEE: the vendor's OUI.
    pub ieee: [u8; 3],
    /// CMIC: see [`Cmic`].
    pub cmic: u8,
    /// MDTS: largest data transfer, in pages of CAP.MPSMIN, as a power of two; 0 for no limit.
    pub mdts: u8,
    /// CNTLID.
    pub cntlid: U16,
    /// VER: as the property VS.
    pub ver: U32,
    /// RTD3R: in microseconds.
    pub rtd3r: U32,
    /// RTD3E: in microseconds.
    pub rtd3e: U32,
    /// OAES: see [`Oaes`].
    pub oaes: U32,
    /// CTRATT: see [`Ctratt`].
    pub ctratt: U32,
    /// RRLS: read recovery levels.
    pub rrls: U16,
    /// BPCAP and reserved.
    pub bpcap: [u8; 2],
    /// NSSL: NVM subsystem shutdown latency in microseconds.
    pub nssl: U32,
    /// Reserved.
    pub reserved_108: [u8; 2],
    /// PLSI: power loss signaling.
    pub plsi: u8,
    /// CNTRLTYPE: see [`ControllerType`].
    pub cntrltype: ControllerType,
    /// FGUID: FRU globally unique identifier.
    pub fguid: [u8; 16],
    /// CRDT1 to CRDT3: command retry delay times in units of 100 ms.
    pub crdt: [U16; 3],
    /// CRCAP: reachability.
    pub crcap: u8,
    /// Reserved, and NVMe-MI.
    pub reserved_135: [u8; 121],
    /// OACS: see [`Oacs`].
    pub oacs: U16,
    /// ACL: outstanding Abort commands, 0-based.
    pub acl_z: u8,
    /// AERL: outstanding Asynchronous Event Request commands, 0-based.
    pub aerl_z: u8,
    /// FRMW: firmware updates; see [`Frmw`].
    pub frmw: u8,
    /// LPA: see [`Lpa`].
    pub lpa: u8,
    /// ELPE: error log entries, 0-based.
    pub elpe_z: u8,
    /// NPSS: power states, 0-based.
    pub npss_z: u8,
    /// AVSCC and APSTA.
    pub reserved_264: [u8; 2],
    /// WCTEMP: warning composite temperature in kelvins.
    pub wctemp: U16,
    /// CCTEMP: critical composite temperature in kelvins.
    pub cctemp: U16,
    /// MTFA, HMPRE and HMMIN.
    pub reserved_270: [u8; 10],
    /// TNVMCAP: total capacity in bytes.
    pub tnvmcap: U128,
    /// UNVMCAP: unallocated capacity in bytes.
    pub unvmcap: U128,
    /// RPMBS, EDSTT, DSTO, FWUG.
    pub reserved_312: [u8; 8],
    /// KAS: granularity of the keep alive timer in units of 100 ms; 0 for no support.
    pub kas: U16,
    /// HCTMA to SANICAP.
    pub reserved_322: [u8; 10],
    /// HMMINDS to ENDGIDMAX.
    pub reserved_332: [u8; 10],
    /// ANATT: ANA transition time in seconds.
    pub anatt: u8,
    /// ANACAP.
    pub anacap: u8,
    /// ANAGRPMAX.
    pub anagrpmax: U32,
    /// NANAGRPID.
    pub nanagrpid: U32,
    /// PELS.
    pub pels: U32,
    /// DOMAINID.
    pub domainid: U16,
    /// KPIOC and reserved.
    pub reserved_358: [u8; 10],
    /// MEGCAP.
    pub megcap: U128,
    /// TMPTHHA and reserved.
    pub reserved_384: [u8; 128],
    /// SQES: entry sizes, required (3:0) and largest (7:4), as powers of two; 66h.
    pub sqes: u8,
    /// CQES: entry sizes, required (3:0) and largest (7:4), as powers of two; 44h.
    pub cqes: u8,
    /// MAXCMD: outstanding commands of one I/O queue; mandatory on fabrics.
    pub maxcmd: U16,
    /// NN: the largest NSID that is valid.
    pub nn: U32,
    /// ONCS: see [`Oncs`].
    pub oncs: U16,
    /// FUSES: bit 0 Compare and Write.
    pub fuses: U16,
    /// FNA: Format NVM attributes.
    pub fna: u8,
    /// VWC: see [`Vwc`].
    pub vwc: u8,
    /// AWUN: atomic write unit, normal, in blocks, 0-based.
    pub awun_z: U16,
    /// AWUPF: atomic write unit, power fail, in blocks, 0-based.
    pub awupf_z: U16,
    /// ICSVSCC: I/O command set vendor specific commands.
    pub icsvscc: u8,
    /// NWPC: see [`Nwpc`].
    pub nwpc: u8,
    /// ACWU: atomic compare and write unit in blocks, 0-based.
    pub acwu_z: U16,
    /// CDFS: copy descriptor formats.
    pub cdfs: U16,
    /// SGLS: see [`Sgls`].
    pub sgls: U32,
    /// MNAN: the largest number of namespaces; 0 where it is NN.
    pub mnan: U32,
    /// MAXDNA.
    pub maxdna: U128,
    /// MAXCNA.
    pub maxcna: U32,
    /// OAQD, RHIRI, HIRT, CMMRTD, NMMRTD, MINMRTG, MAXMRTG, TRATTR and reserved.
    pub reserved_564: [u8; 204],
    /// SUBNQN, terminated by NUL.
    pub subnqn: [u8; 256],
    /// Reserved.
    pub reserved_1024: [u8; 768],
    /// IOCCSZ: I/O command capsule in units of 16 bytes, at least 4.
    pub ioccsz: U32,
    /// IORCSZ: I/O response capsule in units of 16 bytes, at least 1.
    pub iorcsz: U32,
    /// ICDOFF: in-capsule data offset in units of 16 bytes.
    pub icdoff: U16,
    /// FCATT: bit 0 clear for the dynamic controller model.
    pub fcatt: u8,
    /// MSDBD: data block descriptors in a capsule.
    pub msdbd: u8,
    /// OFCS: bit 0 the Disconnect command.
    pub ofcs: U16,
    /// DCTYPE: kind of discovery controller.
    pub dctype: u8,
    /// Reserved.
    pub reserved_1807: [u8; 241],
    /// PSD0 to PSD31.
    pub psd: [PowerState; 32],
    /// Vendor specific.
    pub vendor: [u8; 1024],
}

const _: () = {
    assert!(size_of::<IdentifyController>() == super::IDENTIFY_BYTES);
    assert!(offset_of!(IdentifyController, fr) == 64 && offset_of!(IdentifyController, cmic) == 76);
    assert!(offset_of!(IdentifyController, cntlid) == 78 && offset_of!(IdentifyController, oaes) == 92);
    assert!(offset_of!(IdentifyController, cntrltype) == 111 && offset_of!(IdentifyController, crdt) == 128);
    assert!(offset_of!(IdentifyController, oacs) == 256 && offset_of!(IdentifyController, npss_z) == 263);
    assert!(offset_of!(IdentifyController, wctemp) == 266 && offset_of!(IdentifyController, tnvmcap) == 280);
    assert!(offset_of!(IdentifyController, kas) == 320 && offset_of!(IdentifyController, anatt) == 342);
    assert!(offset_of!(IdentifyController, domainid) == 356 && offset_of!(IdentifyController, megcap) == 368);
    assert!(offset_of!(IdentifyController, sqes) == 512 && offset_of!(IdentifyController, nn) == 516);
    assert!(offset_of!(IdentifyController, vwc) == 525 && offset_of!(IdentifyController, acwu_z) == 532);
    assert!(offset_of!(IdentifyController, sgls) == 536 && offset_of!(IdentifyController, mnan) == 540);
    assert!(offset_of!(IdentifyController, maxcna) == 560 && offset_of!(IdentifyController, subnqn) == 768);
    assert!(offset_of!(IdentifyController, ioccsz) == 1792 && offset_of!(IdentifyController, msdbd) == 1803);
    assert!(offset_of!(IdentifyController, dctype) == 1806 && offset_of!(IdentifyController, psd) == 2048);
    assert!(offset_of!(IdentifyController, vendor) == 3072);
};

/// CNTRLTYPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(transparent)]
pub struct ControllerType(pub u8);

impl ControllerType {
    /// I/O controller.
    pub const IO: Self = Self(1);
    /// Discovery controller.
    pub const DISCOVERY: Self = Self(2);
    /// Administrative controller.
    pub const ADMINISTRATIVE: Self = Self(3);
}

/// CMIC: multi-path I/O and namespace sharing.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Cmic {
    /// MPORTS: more than one port.
    pub mports: bool,
    /// MCTRS: more than one controller.
    pub mctrs: bool,
    /// FT: the controller belongs to an SR-IOV virtual function.
    pub function: bool,
    /// ANARS: asymmetric namespace access reporting.
    pub anars: bool,
    #[bits(4)]
    __: u8,
}

/// OAES: optional asynchronous events.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Oaes {
    __: u8,
    /// NSAN: attached namespace attribute notices.
    pub namespace_attributes: bool,
    /// FAN: firmware activation notices.
    pub firmware: bool,
    __: bool,
    /// ANACN: ANA change notices.
    pub ana: bool,
    #[bits(19)]
    __: u32,
    /// DLPCN: discovery log page change notices.
    pub discovery: bool,
}

/// CTRATT: controller attributes.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Ctratt {
    /// HIDS: 128-bit host identifiers.
    pub hids: bool,
    #[bits(5)]
    __: u8,
    /// TBKAS: traffic based keep alive.
    pub tbkas: bool,
    __: bool,
    #[bits(10)]
    __: u16,
    /// RHII: the reservation commands use the host identifier as this revision says.
    pub rhii: bool,
    #[bits(13)]
    __: u16,
}

/// OACS: optional admin commands.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Oacs {
    /// SSRS: Security Send and Security Receive.
    pub security: bool,
    /// FNVMS: Format NVM.
    pub format: bool,
    /// FWDS: firmware download and commit.
    pub firmware: bool,
    /// NMS: Namespace Management and Attachment.
    pub namespace_management: bool,
    /// DSTS: Device Self-test.
    pub self_test: bool,
    /// DIRS: Directive Send and Receive.
    pub directives: bool,
    /// NSRS: NVMe-MI Send and Receive.
    pub management_interface: bool,
    /// VMS: Virtualization Management.
    pub virtualization: bool,
    /// DBCS: Doorbell Buffer Config.
    pub doorbell_buffer: bool,
    /// GLSS: Get LBA Status.
    pub lba_status: bool,
    #[bits(6)]
    __: u8,
}

/// FRMW: firmware updates.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Frmw {
    /// FFSRO: slot 1 is read only.
    pub slot_1_read_only: bool,
    /// NOFS: number of slots, 1 to 7.
    #[bits(3)]
    pub slots: u8,
    /// FAWR: activation without reset.
    pub activation_without_reset: bool,
    /// SMUD: multiple updates are detected.
    pub detects_overlap: bool,
    #[bits(2)]
    __: u8,
}

/// LPA: log page attributes.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Lpa {
    /// SMARTS: SMART per namespace.
    pub smart_per_namespace: bool,
    /// CSES: the Commands Supported and Effects page.
    pub command_effects: bool,
    /// LPEDS: offsets and lengths of more than 12 bits.
    pub extended_data: bool,
    /// TS: telemetry.
    pub telemetry: bool,
    /// PES: persistent event log.
    pub persistent_event: bool,
    /// MLPS: Supported Log Pages and its companions.
    pub supported_pages: bool,
    /// DA4S: telemetry data area 4.
    pub telemetry_area_4: bool,
    __: bool,
}

/// NWPC: namespace write protection (section 8.1.16).
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Nwpc {
    /// NWPWPS: the states No Write Protect and Write Protect.
    pub write_protect: bool,
    /// WPUPCS: the state Write Protect Until Power Cycle.
    pub until_power_cycle: bool,
    /// PWPS: the state Permanent Write Protect.
    pub permanent: bool,
    #[bits(5)]
    __: u8,
}

/// ONCS: optional NVM commands.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Oncs {
    /// NVMCMPS: Compare.
    pub compare: bool,
    /// NVMWUSV: Write Uncorrectable.
    pub write_uncorrectable: bool,
    /// NVMDSMSV: Dataset Management.
    pub dataset_management: bool,
    /// NVMWZSV: Write Zeroes.
    pub write_zeroes: bool,
    /// SSFS: the Save and Select fields of features.
    pub save_select: bool,
    /// RESERVS: reservations.
    pub reservations: bool,
    /// TSS: Timestamp.
    pub timestamp: bool,
    /// NVMVFYS: Verify.
    pub verify: bool,
    /// NVMCPYS: Copy.
    pub copy: bool,
    /// NVMCSA: copies are atomic.
    pub copy_atomic: bool,
    /// NVMAFC: all fast copy.
    pub fast_copy: bool,
    /// MAXWZD: the largest Write Zeroes with deallocation is not that without.
    pub write_zeroes_deallocate: bool,
    /// NSZS: namespace zeroes.
    pub namespace_zeroes: bool,
    #[bits(3)]
    __: u8,
}

/// VWC: volatile write cache.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Vwc {
    /// VWCP: there is one.
    pub present: bool,
    /// FB: Flush with NSID FFFFFFFFh: 10b not supported, 11b supported.
    #[bits(2)]
    pub flush_all: u8,
    #[bits(5)]
    __: u8,
}

impl Vwc {
    /// FB 10b: Flush does not take NSID FFFFFFFFh.
    pub const FLUSH_ALL_NOT_SUPPORTED: u8 = 0b10;
    /// FB 11b: Flush with NSID FFFFFFFFh flushes all namespaces.
    pub const FLUSH_ALL_SUPPORTED: u8 = 0b11;
}

/// SGLS: SGL support.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Sgls {
    /// 00b none, 01b without alignment, 10b with dword alignment.
    /// See [`Sgls::UNALIGNED`] and [`Sgls::DWORD_ALIGNED`].
    #[bits(2)]
    pub support: u8,
    /// KSDBDS: keyed data blocks.
    pub keyed: bool,
    #[bits(5)]
    __: u8,
    /// SDT: the largest number of descriptors that is recommended.
    pub threshold: u8,
    /// SBBDS: bit buckets.
    pub bit_bucket: bool,
    /// MBA: byte aligned contiguous metadata.
    pub metadata_byte_aligned: bool,
    /// SGLs longer than the data.
    pub longer: bool,
    /// MPTR with an SGL.
    pub metadata_sgl: bool,
    /// SAOS: an offset in the address field of data blocks, which in-capsule data needs.
    pub offset: bool,
    /// TSDBDS: transport data blocks.
    pub transport: bool,
    #[bits(10)]
    __: u16,
}

impl Sgls {
    /// SGLs without a demand on alignment.
    pub const UNALIGNED: u8 = 0b01;
    /// SGLs of data blocks that begin and end at multiples of 4.
    pub const DWORD_ALIGNED: u8 = 0b10;
}

/// One power state (section 5.1.13.2.1, "Power State Descriptor").
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PowerState {
    /// MP: the largest power; the unit is in the flags.
    pub mp: U16,
    /// Reserved.
    pub reserved: u8,
    /// MXPS (bit 0) and NOPS (bit 1).
    pub flags: u8,
    /// ENLAT: entry latency in microseconds.
    pub enlat: U32,
    /// EXLAT: exit latency in microseconds.
    pub exlat: U32,
    /// RRT, RRL, RWT, RWL: relative performance.
    pub relative: [u8; 4],
    /// IDLP to APS.
    pub power: [u8; 8],
    /// Reserved.
    pub reserved_end: U64,
}

const _: () = assert!(size_of::<PowerState>() == 32 && offset_of!(PowerState, relative) == 12);
