//! DW0 of Asynchronous Event Request completions (NVMe base 2.1, section 5.1.2).

use bitfield_struct::bitfield;

/// What happened, and which log page tells more.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct AsyncEvent {
    /// AET: the type.
    #[bits(3)]
    pub kind: u8,
    #[bits(5)]
    __: u8,
    /// AEI: the information; its meaning depends on the type.
    pub info: u8,
    /// LID: the log page to read, which clears the event.
    pub lid: u8,
    __: u8,
}

impl AsyncEvent {
    /// Type 0: errors.
    pub const ERROR: u8 = 0;
    /// Type 1: SMART and health.
    pub const SMART: u8 = 1;
    /// Type 2: notices.
    pub const NOTICE: u8 = 2;
    /// Type 6: I/O command specific.
    pub const IO_COMMAND: u8 = 6;

    /// SMART and health 00h, page 02h: the reliability of the NVM subsystem is degraded.
    pub const RELIABILITY: Self = Self::new().with_kind(Self::SMART).with_lid(0x02);
    /// Notice 00h, page 04h: attributes of attached namespaces changed.
    pub const NAMESPACE_CHANGED: Self = Self::new().with_kind(Self::NOTICE).with_lid(0x04);
    /// Notice 03h, page 0Ch: an ANA group changed its state.
    pub const ANA_CHANGED: Self = Self::new().with_kind(Self::NOTICE).with_info(0x03).with_lid(0x0c);
    /// Notice F0h, page 70h: the discovery log changed.
    pub const DISCOVERY_CHANGED: Self = Self::new().with_kind(Self::NOTICE).with_info(0xf0).with_lid(0x70);
    /// I/O command set event 00h, page 80h: a reservation notice is available.
    pub const RESERVATION_NOTICE: Self = Self::new().with_kind(Self::IO_COMMAND).with_lid(0x80);
}
