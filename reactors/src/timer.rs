//! A hierarchical timer wheel: timers are inserted, cancelled and expired in constant time, and
//! never early. Owned by one poller; it reads no clock.
//!
//! Time is cut into ticks of 2^10 ns, and a tick's number into nine digits of six bits. A timer hangs
//! at the level of the highest digit in which its tick differs from `elapsed`, in the slot of that
//! digit. When `elapsed` reaches a slot above level 0, its timers move down.
//!
//! Invariants: no timer's tick, as it hangs, is before `elapsed`; every timer at a level comes before
//! all those at higher levels, and within a level those of lower slots before those of higher ones;
//! no timer is due before `earliest`; a bit of `occupied` is up where a slot's list is not empty, and one
//! of `levels` where a word of `occupied` is not zero. The slot that `elapsed` itself is in is empty at every
//! level above 0, but for the level `moving` while it is left half moved down.

use std::fmt;

use crate::clock::Time;

/// A microsecond: timers of one tick are looked through one by one, so with a thousand of them within a millisecond a
/// tick should have about one.
const TICK_BITS: u32 = 10;
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
/// Enough for all of `Time`.
const LEVELS: usize = ((u64::BITS - TICK_BITS) / DIGIT_BITS) as usize;
/// No entry.
const NONE: u32 = u32::MAX;

/// Names a timer until it has expired or was cancelled; afterwards it names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    index: u32,
    generation: u32,
}

/// Timers that each carry a `T`.
pub struct Wheel<T> {
    entries: Vec<Entry<T>>,
    /// The first unused entry.
    free: u32,
    len: usize,
    /// The tick up to which slots were emptied.
    elapsed: u64,
    earliest: Time,
    /// One bit per level that holds a timer.
    levels: u32,
    /// The level whose current slot was left half moved down when a budget was used up; 0 when there is none.
    moving: usize,
    /// One bit per slot that holds a timer, by level.
    occupied: [u64; LEVELS],
    slots: Box<[[Slot; SLOTS]; LEVELS]>,
}

struct Entry<T> {
    at: Time,
    generation: u32,
    level: u8,
    slot: u8,
    previous: u32,
    next: u32,
    /// `None` while the entry is unused; then `next` is the next unused one.
    value: Option<T>,
}

#[derive(Clone, Copy)]
struct Slot {
    head: u32,
    tail: u32,
}

const EMPTY: Slot = Slot { head: NONE, tail: NONE };

/// A slot that holds timers, and its first tick.
#[derive(Clone, Copy)]
struct Place {
    level: usize,
    slot: usize,
    start: u64,
}

impl<T> Wheel<T> {
    /// An empty wheel that starts at the clock's origin and holds `capacity` timers, at most 2^32 - 1,
    /// before it allocates.
    pub fn with_capacity(capacity: usize) -> Self {
        Wheel {
            entries: Vec::with_capacity(capacity),
            free: NONE,
            len: 0,
            elapsed: 0,
            earliest: Time::MAX,
            levels: 0,
            moving: 0,
            occupied: [0; LEVELS],
            slots: Box::new([[EMPTY; SLOTS]; LEVELS]),
        }
    }

    /// How many timers there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a timer that is due at `at`; a time that has passed is due at once. Allocates beyond the capacity only.
    ///
    /// # Panics
    ///
    /// When there are 2^32 - 1 timers already.
    pub fn insert(&mut self, at: Time, value: T) -> Key {
        let index = self.allocate(at, value);
        self.hang(index);
        self.earliest = if self.len == 0 { at } else { self.earliest.min(at) };
        self.len += 1;
        Key { index, generation: self.entries[index as usize].generation }
    }

    /// Takes a timer out; `None` when it has expired or was cancelled before.
    pub fn cancel(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get(key.index as usize)?;
        if entry.generation != key.generation || entry.value.is_none() {
            return None;
        }
        self.unhang(key.index);
        self.release(key.index)
    }

    /// Hands the timers that are due at `now` to `expired`, in the order of their ticks, and returns
    /// their number. Does at most `budget` steps, each of which expires one timer or moves one to a
    /// lower level. When more is due then [`Wheel::next`] says `now` or earlier.
    pub fn expire(&mut self, now: Time, budget: usize, mut expired: impl FnMut(T)) -> usize {
        let target = tick(now);
        if self.len == 0 {
            self.elapsed = self.elapsed.max(target);
            return 0;
        }
        if now < self.earliest {
            return 0;
        }
        let mut steps = budget;
        let mut count = 0;
        let mut first = self.first();
        while let Some(place) = first {
            if place.start > target {
                // Nothing hangs before it, so no digit that decides a timer's level changes.
                self.elapsed = self.elapsed.max(target);
                break;
            }
            if steps == 0 {
                // `earliest` has passed, and stays: more may be due.
                return count;
            }
            self.elapsed = self.elapsed.max(place.start);
            if place.level > 0 {
                steps -= self.move_down(&place, steps);
            } else {
                let due = self.expire_slot(place.slot, now, steps, &mut expired);
                steps -= due;
                count += due;
                if steps > 0 && self.occupied[0] >> place.slot & 1 == 1 {
                    // What is left is due later within this tick.
                    break;
                }
            }
            first = self.first();
        }
        self.earliest = self.bound(first);
        count
    }

    /// A time before which no timer is due; `None` when there is none. Calling [`Wheel::expire`] at that
    /// time expires a timer or finds a later bound: a timer has at most eight of those.
    pub fn next(&self) -> Option<Time> {
        (self.len > 0).then_some(self.earliest)
    }

    /// The occupied slot that comes first.
    fn first(&self) -> Option<Place> {
        if self.moving > 0 {
            let slot = self.digit(self.moving);
            // All that was left in it may have been cancelled.
            if self.occupied[self.moving] >> slot & 1 == 1 {
                return Some(self.place(self.moving, slot));
            }
        }
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        let slot = self.occupied[level].trailing_zeros() as usize;
        Some(self.place(level, slot))
    }

    fn place(&self, level: usize, slot: usize) -> Place {
        let shift = shift(level);
        let start = (self.elapsed >> shift >> DIGIT_BITS << DIGIT_BITS | slot as u64) << shift;
        Place { level, slot, start }
    }

    /// The earliest time anything can be due, where `first` is the occupied slot that comes first.
    fn bound(&self, first: Option<Place>) -> Time {
        let Some(place) = first else { return Time::MAX };
        if place.level > 0 {
            return Time::from_nanos(place.start << TICK_BITS);
        }
        let mut earliest = Time::MAX;
        let mut index = self.slots[0][place.slot].head;
        while index != NONE {
            let entry = &self.entries[index as usize];
            earliest = earliest.min(entry.at);
            index = entry.next;
        }
        earliest
    }

    fn expire_slot(&mut self, slot: usize, now: Time, budget: usize, expired: &mut impl FnMut(T)) -> usize {
        let mut count = 0;
        let mut index = self.slots[0][slot].head;
        while index != NONE && count < budget {
            let Entry { at, next, .. } = self.entries[index as usize];
            if at <= now {
                self.unhang(index);
                count += 1;
                if let Some(value) = self.release(index) {
                    expired(value);
                }
            }
            index = next;
        }
        count
    }

    /// Moves up to `budget` timers of the slot that `elapsed` has reached to lower levels, and returns their number.
    fn move_down(&mut self, place: &Place, budget: usize) -> usize {
        let &Place { level, slot, .. } = place;
        let mut count = 0;
        let mut index = self.slots[level][slot].head;
        while index != NONE && count < budget {
            let next = self.entries[index as usize].next;
            self.hang(index);
            count += 1;
            index = next;
        }
        if index == NONE {
            self.slots[level][slot] = EMPTY;
            self.vacate(level, slot);
            self.moving = 0;
        } else {
            self.entries[index as usize].previous = NONE;
            self.slots[level][slot].head = index;
            self.moving = level;
        }
        count
    }

    /// Links an entry into the slot of its time.
    fn hang(&mut self, index: u32) {
        let due = tick(self.entries[index as usize].at).max(self.elapsed);
        let differing = due ^ self.elapsed;
        let level = (differing.checked_ilog2().unwrap_or(0) / DIGIT_BITS) as usize;
        let slot = digit(due, level);
        let list = &mut self.slots[level][slot];
        let previous = list.tail;
        list.tail = index;
        if previous == NONE {
            list.head = index;
        } else {
            self.entries[previous as usize].next = index;
        }
        self.occupied[level] |= 1 << slot;
        self.levels |= 1 << level;
        let entry = &mut self.entries[index as usize];
        entry.previous = previous;
        entry.next = NONE;
        entry.level = narrow(level);
        entry.slot = narrow(slot);
    }

    fn unhang(&mut self, index: u32) {
        let Entry { previous, next, level, slot, .. } = self.entries[index as usize];
        let (level, slot) = (usize::from(level), usize::from(slot));
        let list = &mut self.slots[level][slot];
        if previous == NONE {
            list.head = next;
        } else {
            self.entries[previous as usize].next = next;
        }
        if next == NONE {
            list.tail = previous;
        } else {
            self.entries[next as usize].previous = previous;
        }
        if list.head == NONE {
            self.vacate(level, slot);
        }
    }

    /// Notes that a slot has become empty.
    fn vacate(&mut self, level: usize, slot: usize) {
        self.occupied[level] &= !(1 << slot);
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
    }

    fn allocate(&mut self, at: Time, value: T) -> u32 {
        if self.free == NONE {
            let index = u32::try_from(self.entries.len()).ok().filter(|&index| index != NONE);
            let index = index.expect("fewer than 2^32 timers");
            let value = Some(value);
            self.entries.push(Entry {
                at,
                generation: 0,
                level: 0,
                slot: 0,
                previous: NONE,
                next: NONE,
                value,
            });
            return index;
        }
        let index = self.free;
        let entry = &mut self.entries[index as usize];
        self.free = entry.next;
        entry.at = at;
        entry.value = Some(value);
        index
    }

    fn release(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.free;
        self.free = index;
        self.len -= 1;
        entry.value.take()
    }

    fn digit(&self, level: usize) -> usize {
        digit(self.elapsed, level)
    }
}

impl<T> fmt::Debug for Wheel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel").field("len", &self.len).field("next", &self.next()).finish_non_exhaustive()
    }
}

fn tick(time: Time) -> u64 {
    time.as_nanos() >> TICK_BITS
}

fn shift(level: usize) -> u32 {
    u32::from(narrow(level)) * DIGIT_BITS
}

fn digit(tick: u64, level: usize) -> usize {
    let [low, ..] = (tick >> shift(level)).to_le_bytes();
    usize::from(low) % SLOTS
}

/// Levels and slots are below 64.
fn narrow(value: usize) -> u8 {
    u8::try_from(value).expect("below 64")
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
