//! Names memory for the device: physical region pages, and scatter gather lists (NVMe base 2.1, sections 4.3.1 and
//! 4.3.2). Lists go to the page that each command slot has. Nothing is allocated.
//!
//! PRP entries are pages. So only the first run of memory may begin inside a page, and only the last may end inside one:
//! anything else is a [`Unnamed::Hole`], which takes an SGL or a copy.

#[cfg(test)]
mod tests;

use super::memory::PAGE_BYTES;
use crate::mem::Shared;
use crate::spec::prp::{PRP_ALIGNMENT, PRP_BYTES, PrpPair};
use crate::spec::sgl::SglDescriptor;

/// Pages that one list of PRPs names.
const LIST_ENTRIES: usize = PAGE_BYTES / PRP_BYTES;
/// Descriptors that one page holds.
const DESCRIPTORS: usize = PAGE_BYTES / size_of::<SglDescriptor>();
/// The most data of one command: a list of one page names it wherever it begins in its first page.
pub(super) const TRANSFER_MAX: usize = LIST_ENTRIES * PAGE_BYTES;
const PAGE: u64 = PAGE_BYTES as u64;

/// Bytes that lie together for the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) iova: u64,
    pub(super) bytes: usize,
}

/// Why memory cannot be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// The device does not reach it.
    Unmapped,
    /// It is not made of whole pages, or begins at no multiple of 4.
    Hole,
    /// It takes more entries than a list has.
    TooLong,
}

/// The page of a command slot, for its list.
#[derive(Clone, Copy)]
pub(super) struct ListPage<'a> {
    pub(super) words: &'a Shared,
    /// Where the page begins in `words`.
    pub(super) offset: usize,
    /// Where the device sees the page.
    pub(super) iova: u64,
}

/// The pair for data that ends in its first or second page; `None` for longer data, and for an address that PRPs do not
/// take.
#[inline]
pub(super) fn short(run: Run) -> Option<PrpPair> {
    let in_page = run.iova % PAGE;
    // A run is no longer than memory: lossless.
    let bytes = run.bytes as u64;
    if !run.iova.is_multiple_of(PRP_ALIGNMENT) || in_page + bytes > 2 * PAGE {
        return None;
    }
    let second = if in_page + bytes > PAGE { run.iova - in_page + PAGE } else { 0 };
    Some(PrpPair::of(run.iova, second))
}

/// The pair for `runs`, in order; a list, if it takes one, is stored in `page`.
pub(super) fn prps(
    runs: impl Iterator<Item = Result<Run, Unnamed>>,
    page: ListPage<'_>,
) -> Result<PrpPair, Unnamed> {
    let mut pages = Pages { page, first: 0, second: 0, count: 0, end: 0 };
    for run in runs {
        pages.add(run?)?;
    }
    let second = if pages.count > 2 { page.iova } else { pages.second };
    Ok(PrpPair::of(pages.first, second))
}

struct Pages<'a> {
    page: ListPage<'a>,
    first: u64,
    second: u64,
    /// Pages so far.
    count: usize,
    /// Where the last run ended.
    end: u64,
}

impl Pages<'_> {
    fn add(&mut self, run: Run) -> Result<(), Unnamed> {
        let end = run.iova + run.bytes as u64;
        let mut next = run.iova;
        if self.count == 0 {
            if !run.iova.is_multiple_of(PRP_ALIGNMENT) {
                return Err(Unnamed::Hole);
            }
            self.first = run.iova;
            self.count = 1;
            next = run.iova - run.iova % PAGE + PAGE;
        } else if run.iova == self.end {
            next = run.iova.next_multiple_of(PAGE);
        } else if !self.end.is_multiple_of(PAGE) || !run.iova.is_multiple_of(PAGE) {
            return Err(Unnamed::Hole);
        }
        while next < end {
            self.push(next)?;
            next += PAGE;
        }
        self.end = end;
        Ok(())
    }

    fn push(&mut self, page: u64) -> Result<(), Unnamed> {
        assert!(self.count >= 1);
        let entry = self.count - 1;
        if entry == LIST_ENTRIES {
            return Err(Unnamed::TooLong);
        }
        if entry == 0 {
            self.second = page;
        }
        self.page.words.store_u64(self.page.offset + entry * PRP_BYTES, page);
        self.count += 1;
        Ok(())
    }
}

/// The descriptor for `runs`, in order: of the data itself where it is one run, otherwise of a list in `page`. With
/// `aligned`, each run must begin and end at a multiple of 4 (SGLS 10b).
pub(super) fn sgl(
    runs: impl Iterator<Item = Result<Run, Unnamed>>,
    page: ListPage<'_>,
    aligned: bool,
) -> Result<SglDescriptor, Unnamed> {
    let mut last: Option<Run> = None;
    let mut count = 0;
    let store = |index: usize, run: Run| {
        let length = u32::try_from(run.bytes).map_err(|_| Unnamed::TooLong)?;
        let descriptor = SglDescriptor::data_block(run.iova, length);
        if index >= DESCRIPTORS {
            return Err(Unnamed::TooLong);
        }
        let offset = page.offset + index * size_of::<SglDescriptor>();
        page.words.store_all(offset, &descriptor.double_words());
        Ok(descriptor)
    };
    for run in runs {
        let run = run?;
        if aligned && !(run.iova.is_multiple_of(4) && run.bytes.is_multiple_of(4)) {
            return Err(Unnamed::Hole);
        }
        match &mut last {
            Some(last) if last.iova + last.bytes as u64 == run.iova => last.bytes += run.bytes,
            _ => {
                if let Some(before) = last.replace(run) {
                    store(count, before)?;
                    count += 1;
                }
            }
        }
    }
    let only = store(count, last.ok_or(Unnamed::TooLong)?)?;
    if count == 0 {
        return Ok(only);
    }
    let bytes = (count + 1) * size_of::<SglDescriptor>();
    Ok(SglDescriptor::last_segment(page.iova, u32::try_from(bytes).map_err(|_| Unnamed::TooLong)?))
}
