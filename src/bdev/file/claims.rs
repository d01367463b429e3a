//! Who is in which stripe of a file: any number of readers, or one writer. For files whose blocks are not atomic below.
//!
//! Nobody waits here, neither in the kernel nor spinning: a claim takes its stripes one after the other, and where it may
//! not have one, it keeps those that it has and is tried again. Whoever waits is in the word of that stripe, by the slot of
//! its channel; a stripe that becomes free goes to the waiting slots in turn. So no reader keeps a writer out by coming again,
//! nor a writer a reader, nor a reactor another one. A reactor that leaves a stripe empty for long, though it is its turn, as
//! one does that has lost its core for a while, is passed over.
//!
//! Invariants of each word: a writer in it has nobody beside it; while no writer is in it and somebody waits, it is the turn of
//! a slot that waits; who stops waiting, with the stripe or without it, takes its slot out of the word. (If others of that slot
//! wait too, they enter it again when they are tried: a turn is never lost, nor left to somebody who is gone.) Claims take
//! stripes in the order of their indexes, each once, and who has all of them needs no other to finish: nobody waits for ever.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

/// Least bytes of a stripe, so that long commands have not too many of them; a stripe is never smaller than a block.
const STRIPE_BYTES_MIN: u32 = 4096;
/// Stripes of one file: 256 KiB of words. Those of larger files share them. The words lie side by side: a command of many
/// blocks goes through few cache lines.
const STRIPES_MAX: usize = 32_768;
/// Stripes of one claim, which one turn of a reactor takes: some ten microseconds.
const CLAIM_MAX: u32 = 4096;
const _: () = assert!((CLAIM_MAX as usize) < STRIPES_MAX && STRIPES_MAX.is_power_of_two());
/// Looks at an empty stripe after which a turn that is not taken does not count: longer than a reactor is busy elsewhere.
pub(super) const LOOKS_MAX: u32 = 256;
/// Channels that are told apart where they wait; more of them share slots, and are served in turn together.
const SLOTS: u32 = u32::BITS;

/// The stripes of a file.
#[derive(Debug)]
pub(super) struct Claims {
    /// Their number is a power of two.
    stripes: Box<[AtomicU64]>,
    /// The exponent of their bytes.
    stripe_shift: u32,
    /// Channels that were opened. `Relaxed`: it is a number and no more.
    channels: AtomicU32,
}

/// A channel's way to them.
#[derive(Debug)]
pub(super) struct Claimant {
    claims: Arc<Claims>,
    slot: u32,
}

/// Stripes that a job holds, or is about to; without any, it holds nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Claim {
    /// Counted from the first of the file.
    first: u64,
    count: u32,
    /// How many of them it has, in the order of their indexes.
    held: u32,
    exclusive: bool,
    /// If it was refused the next one, so that its slot is in the word, or was: the looks that found it empty, and 1.
    looks: u32,
}

impl Claims {
    /// Those of a file of so many bytes, in blocks of so many.
    pub(super) fn new(bytes: u64, block_size: u32) -> Self {
        let stripe_bytes = block_size.max(STRIPE_BYTES_MIN);
        let count = usize::try_from(bytes.div_ceil(stripe_bytes.into())).unwrap_or(STRIPES_MAX);
        Self::with_stripes(count.min(STRIPES_MAX), stripe_bytes)
    }

    /// At least so many stripes of so many bytes, a power of two, whatever the size of the file.
    pub(super) fn with_stripes(count: usize, stripe_bytes: u32) -> Self {
        assert!(stripe_bytes.is_power_of_two());
        let stripes = (0..count.next_power_of_two()).map(|_| AtomicU64::new(0)).collect();
        Self { stripes, stripe_shift: stripe_bytes.trailing_zeros(), channels: AtomicU32::new(0) }
    }

    /// A way for one more channel.
    pub(super) fn claimant(self: &Arc<Self>) -> Claimant {
        let slot = self.channels.fetch_add(1, Ordering::Relaxed) % SLOTS;
        Claimant { claims: Arc::clone(self), slot }
    }

    /// The index of a stripe of a claim: ascending with its place, also where the claim goes on at the first one.
    fn index(&self, claim: &Claim, place: u32) -> usize {
        let count = self.stripes.len() as u64;
        let first = claim.first & (count - 1);
        let around = (first + u64::from(claim.count)).saturating_sub(count);
        let place = u64::from(place);
        let index = if place < around { place } else { first + (place - around) };
        usize::try_from(index).unwrap_or(usize::MAX)
    }
}

impl Claimant {
    /// Bytes that one claim can be of, a multiple of every block size.
    pub(super) fn bytes_max(&self) -> u64 {
        u64::from(CLAIM_MAX) << self.claims.stripe_shift
    }

    /// A claim to these bytes, 1 to [`Claimant::bytes_max`] from a multiple of the block size on. It holds nothing yet.
    pub(super) fn claim(&self, bytes: &Range<u64>, exclusive: bool) -> Claim {
        assert!(bytes.start < bytes.end);
        let first = bytes.start >> self.claims.stripe_shift;
        let last = (bytes.end - 1) >> self.claims.stripe_shift;
        let count = u32::try_from(last - first + 1).unwrap_or(u32::MAX);
        // One more where it begins in the middle of one.
        assert!(count <= CLAIM_MAX + 1 && count as usize <= self.claims.stripes.len());
        Claim { first, count, held: 0, exclusive, looks: 0 }
    }

    /// Takes what can be had of a claim; whether that is all of it.
    ///
    /// `Acquire` is the partner of the `Release` of whoever was in the stripe before: its operations had completed. All that
    /// a stripe orders is in its one word, and whoever is refused looks at it again: no wake-up can be lost.
    pub(super) fn take(&self, claim: &mut Claim) -> bool {
        while claim.held < claim.count {
            let stripe = &self.claims.stripes[self.claims.index(claim, claim.held)];
            let taken = |word| Word(word).taken(self.slot, claim.exclusive, claim.looks);
            let looked = stripe.fetch_update(Ordering::Acquire, Ordering::Relaxed, |word| {
                let next = taken(word).unwrap_or_else(|| Word(word).waited_for(self.slot));
                // Who waits already changes nothing that others see.
                (next != Word(word)).then_some(next.0)
            });
            let (Ok(before) | Err(before)) = looked;
            if taken(before).is_none() {
                claim.looks = (claim.looks + u32::from(Word(before).is_empty())).max(1);
                return false;
            }
            (claim.held, claim.looks) = (claim.held + 1, 0);
        }
        true
    }

    /// Gives back what a claim has, and waits for no more. It holds nothing after that.
    pub(super) fn give_back(&self, claim: &mut Claim) {
        for place in 0..claim.held {
            self.change(claim, place, |word| word.given_back(self.slot, claim.exclusive));
        }
        if claim.looks > 0 {
            self.change(claim, claim.held, |word| word.resigned(self.slot));
        }
        *claim = Claim::default();
    }

    fn change(&self, claim: &Claim, place: u32, change: impl Fn(Word) -> Word) {
        let stripe = &self.claims.stripes[self.claims.index(claim, place)];
        let changed = |word| Some(change(Word(word)).0);
        let _ = stripe.fetch_update(Ordering::Release, Ordering::Relaxed, changed);
    }
}

/// What is so in one stripe: readers, a writer, whose turn it is (a slot and 1, or 0), and the slots that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    const READERS: u64 = (1 << 24) - 1;
    const WRITER: u64 = 1 << 24;
    const TURN_AT: u32 = 25;
    const TURN: u64 = 0x3F << Self::TURN_AT;
    const WAITING_AT: u32 = 32;

    /// With one more in it, if it may come in; `looks` as in [`Claim`]. Others of its slot do not come before those who wait.
    pub(super) fn taken(self, slot: u32, exclusive: bool, looks: u32) -> Option<Self> {
        let turn = self.turn();
        let free = self.0 & Self::WRITER == 0 && (!exclusive || self.readers() == 0);
        let other = turn.is_some_and(|turn| turn != slot || looks == 0);
        if !free || other && looks <= LOOKS_MAX {
            return None;
        }
        let left = self.without(slot);
        Some(match (exclusive, turn) {
            (true, _) => Self(left.0 & !Self::TURN | Self::WRITER),
            (false, None) => Self(left.0 + 1),
            // The next one may be a reader too; a writer keeps the turn until all have left.
            (false, Some(_)) => Self(left.0 + 1).passed_on(slot),
        })
    }

    /// With a slot among those who wait.
    pub(super) fn waited_for(self, slot: u32) -> Self {
        let word = Self(self.0 | 1 << (Self::WAITING_AT + slot));
        let free = self.0 & Self::WRITER == 0 && self.turn().is_none();
        if free { word.passed_on(slot) } else { word }
    }

    /// With one less in it.
    pub(super) fn given_back(self, slot: u32, exclusive: bool) -> Self {
        if exclusive {
            assert!(self.0 & Self::WRITER != 0 && self.readers() == 0);
            return Self(self.0 & !Self::WRITER).passed_on(slot);
        }
        assert!(self.0 & Self::WRITER == 0 && self.readers() > 0);
        Self(self.0 - 1)
    }

    /// Without a slot among those who wait.
    pub(super) fn resigned(self, slot: u32) -> Self {
        let word = self.without(slot);
        if self.turn() == Some(slot) { word.passed_on(slot) } else { word }
    }

    /// Has the slot that comes after this one and waits take its turn; nobody, if none waits.
    fn passed_on(self, slot: u32) -> Self {
        let free = self.0 & !Self::TURN;
        let waiting = self.waiting();
        if waiting == 0 {
            return Self(free);
        }
        let after = (slot + 1) % SLOTS;
        let next = (after + waiting.rotate_right(after).trailing_zeros()) % SLOTS;
        Self(free | u64::from(next + 1) << Self::TURN_AT)
    }

    fn without(self, slot: u32) -> Self {
        Self(self.0 & !(1 << (Self::WAITING_AT + slot)))
    }

    fn is_empty(self) -> bool {
        self.0 & Self::WRITER == 0 && self.readers() == 0
    }

    fn readers(self) -> u64 {
        self.0 & Self::READERS
    }

    fn waiting(self) -> u32 {
        u32::try_from(self.0 >> Self::WAITING_AT).unwrap_or(0)
    }

    fn turn(self) -> Option<u32> {
        let turn = u32::try_from((self.0 & Self::TURN) >> Self::TURN_AT).unwrap_or(0);
        turn.checked_sub(1)
    }
}
