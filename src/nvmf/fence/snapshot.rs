//! What I/O reactors see of the reservations and the write protection of a subsystem: for each namespace, what each host
//! slot may do.
//!
//! Costs nothing to speak of where no reservation is held, and one bit test where one is, with any number of
//! registrants. On a namespace that is write protected no host may write: that is in the same bits, and only a command
//! that is refused looks why.

use crate::reservation::{self, Rights, State};
use crate::spec::host::HostId;
use crate::spec::status::Status;

/// What the hosts may do on one namespace.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Everybody may do everything: no reservation is held, and the namespace is sound.
    open: bool,
    /// The namespace is out of service: its reservations are not known.
    fenced: bool,
    /// Nobody may write: the namespace is write protected.
    protected: bool,
    /// What hosts without a slot in the bitmaps may do.
    others: Rights,
    slots: u32,
    may_read: Box<[u64]>,
    may_write: Box<[u64]>,
}

impl Rules {
    /// Everybody may do everything.
    pub fn open() -> Self {
        Self { open: true, ..Self::blank(Rights::ALL) }
    }

    /// Every command answers Internal Error, until an operator decides.
    pub fn fenced() -> Self {
        Self { fenced: true, ..Self::blank(Rights::NONE) }
    }

    /// What `state` lets the hosts do, who may only read where the namespace is `protected`; `hosts` are those that have a
    /// slot, by slot.
    pub fn of(state: &State, protected: bool, hosts: &[HostId]) -> Self {
        let rights = |rights: Rights| Rights { write: rights.write && !protected, ..rights };
        let others = Self { protected, ..Self::blank(rights(Rights::of_others(state))) };
        if state.reservation().is_none() {
            return if protected { others } else { Self::open() };
        }
        let mut rules = others;
        rules.slots = u32::try_from(hosts.len()).expect("slots are 32 bits");
        let words = hosts.len().div_ceil(64);
        let (mut may_read, mut may_write) = (vec![0; words], vec![0; words]);
        for (slot, host) in hosts.iter().enumerate() {
            let rights = rights(reservation::rights(state, *host));
            may_read[slot / 64] |= u64::from(rights.read) << (slot % 64);
            may_write[slot / 64] |= u64::from(rights.write) << (slot % 64);
        }
        (rules.may_read, rules.may_write) = (may_read.into(), may_write.into());
        rules
    }

    fn blank(others: Rights) -> Self {
        Self {
            open: false,
            fenced: false,
            protected: false,
            others,
            slots: 0,
            may_read: Box::default(),
            may_write: Box::default(),
        }
    }

    /// Judges a command of the host in `slot` that writes or, otherwise, reads.
    ///
    /// # Errors
    /// Namespace is Write Protected for what writes where it is, whoever asks; Reservation Conflict where the host has no
    /// right to it; Internal Error where the namespace is out of service. All with DNR.
    #[inline]
    pub fn judge(&self, slot: u32, writes: bool) -> Result<(), Status> {
        if self.open { Ok(()) } else { self.judge_closed(slot, writes) }
    }

    /// Whether the namespace is out of service.
    pub fn is_fenced(&self) -> bool {
        self.fenced
    }

    fn judge_closed(&self, slot: u32, writes: bool) -> Result<(), Status> {
        if self.fenced {
            return Err(Status::INTERNAL_ERROR.with_dnr());
        }
        let (map, others) =
            if writes { (&self.may_write, self.others.write) } else { (&self.may_read, self.others.read) };
        let allowed =
            if slot < self.slots { map[slot as usize / 64] >> (slot % 64) & 1 != 0 } else { others };
        match allowed {
            true => Ok(()),
            false if writes && self.protected => Err(Status::WRITE_PROTECTED.with_dnr()),
            false => Err(Status::RESERVATION_CONFLICT.with_dnr()),
        }
    }
}

/// The rules of all namespaces of a subsystem.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By NSID - 1; none where the NSID is inactive.
    rules: Box<[Option<Rules>]>,
}

impl Snapshot {
    /// The rules of the namespaces, each with its NSID, from 1.
    pub fn new(rules: impl IntoIterator<Item = (u32, Rules)>) -> Self {
        let mut by_nsid = Vec::new();
        for (nsid, rules) in rules {
            assert!(nsid > 0);
            let index = nsid as usize - 1;
            if by_nsid.len() <= index {
                by_nsid.resize_with(index + 1, || None);
            }
            by_nsid[index] = Some(rules);
        }
        Self { rules: by_nsid.into() }
    }

    /// The rules of `nsid`; `None` where there are none, and everything is allowed.
    #[inline]
    pub fn rules(&self, nsid: u32) -> Option<&Rules> {
        self.rules.get((nsid as usize).wrapping_sub(1))?.as_ref()
    }

    /// As [`Rules::judge`] on `nsid`.
    ///
    /// # Errors
    /// As [`Rules::judge`].
    #[inline]
    pub fn judge(&self, nsid: u32, slot: u32, writes: bool) -> Result<(), Status> {
        match self.rules(nsid) {
            Some(rules) => rules.judge(slot, writes),
            None => Ok(()),
        }
    }
}
