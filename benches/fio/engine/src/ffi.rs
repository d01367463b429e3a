//! The functions that the shim calls. They keep nothing of what they are shown, but the address of a job's memory.
//!
//! The facts that the `unsafe` here relies on, all of which `shim.c` holds to:
//!
//! - texts are C strings, or null; structures are whole, and nobody else uses them during a call;
//! - a job comes from [`corelane_fio_open`], is used by one thread at a time, and no more after [`corelane_fio_close`].
//!
//! A panic cannot leave these functions: it ends the process, after it has said why.

#![expect(unsafe_code, reason = "C calls these functions, with pointers")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::time::Duration;

use crate::failure::{self, Failure};
use crate::job::{Job, Operation, Refusal, Request};
use crate::say;
use crate::survey::survey;
use crate::target::{Given, Target};

/// It was taken.
const TAKEN: u32 = 0;
/// It was not taken: again, when something has ended.
const BUSY: u32 = 1;
const _: () = assert!(BUSY < failure::FIRST);

/// `struct corelane_options` of the shim.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Options {
    address: *const c_char,
    subnqn: *const c_char,
    hostnqn: *const c_char,
    hostid: *const c_char,
    pcie: *const c_char,
    port: u32,
    header_digest: u32,
    data_digest: u32,
    flow_control: u32,
    timeout_ms: u32,
    depth: u32,
}

/// `struct corelane_geometry` of the shim.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Geometry {
    bytes: u64,
    transfer_bytes_max: u64,
    nsid: u32,
    block_size: u32,
}

/// `struct corelane_io` of the shim.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Io {
    tag: u64,
    offset: u64,
    bytes: u64,
    buffer: *mut c_void,
    /// 0 read, 1 write, 2 trim, 3 flush.
    operation: u32,
    nsid: u32,
    block_size: u32,
}

/// `struct corelane_event` of the shim.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Event {
    tag: u64,
    /// 0 for success.
    failure: u32,
    errno: c_int,
}

/// Looks at namespace `nsid`, or at the first one where it is 0. Returns 0, or an errno after it has said why.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn corelane_fio_survey(
    options: &Options,
    nsid: u32,
    geometry: &mut Geometry,
) -> c_int {
    // SAFETY: its texts are C strings or null (fact of the module).
    let given = unsafe { given(options) };
    let target = match Target::new(&given) {
        Ok(target) => target,
        Err(error) => {
            say(&error);
            return libc::EINVAL;
        }
    };
    match survey(&target, nsid) {
        Ok(found) => {
            *geometry = Geometry {
                bytes: found.bytes,
                transfer_bytes_max: found.transfer_bytes_max,
                nsid: found.nsid,
                block_size: found.block_size,
            };
            0
        }
        Err(error) => {
            say(&error);
            libc::ENODEV
        }
    }
}

/// Opens a job; null after it has said why not.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn corelane_fio_open(options: &Options) -> *mut Job {
    // SAFETY: its texts are C strings or null (fact of the module).
    let given = unsafe { given(options) };
    let opened = match Target::new(&given) {
        Ok(target) => Job::open(&target).map_err(|error| say(&error)),
        Err(error) => {
            say(&error);
            return ptr::null_mut();
        }
    };
    opened.map_or(ptr::null_mut(), |job| Box::into_raw(Box::new(job)))
}

/// Memory for the I/Os of a job, at a page boundary; null after it has said why not.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn corelane_fio_memory(job: &mut Job, bytes: usize) -> *mut c_void {
    match job.memory(bytes) {
        Ok(address) => ptr::with_exposed_provenance_mut(address),
        Err(error) => {
            say(&error);
            ptr::null_mut()
        }
    }
}

/// Begins to take I/Os; their memory is there. Returns 0, or an errno after it has said why.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn corelane_fio_start(job: &mut Job) -> c_int {
    match job.start() {
        Ok(()) => 0,
        Err(error) => {
            say(&error);
            libc::ENODEV
        }
    }
}

/// Takes an I/O: 0. Or 1 for not now, or the number of a failure.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn corelane_fio_submit(job: &mut Job, io: &Io) -> u32 {
    let operation = match io.operation {
        0 => Operation::Read,
        1 => Operation::Write,
        2 => Operation::Trim,
        3 => Operation::Flush,
        _ => return Failure::Unsupported.number(),
    };
    let request = Request {
        tag: io.tag,
        operation,
        nsid: io.nsid,
        block_size: io.block_size,
        offset: io.offset,
        bytes: io.bytes,
        buffer: io.buffer.addr(),
    };
    match job.submit(&request) {
        Ok(()) => TAKEN,
        Err(Refusal::Full) => BUSY,
        Err(Refusal::Failed(failure)) => failure.number(),
    }
}

/// Sends what was taken.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn corelane_fio_commit(job: &mut Job) {
    job.commit();
}

/// Waits until `least` I/Os have ended, or for `limit_ns` where that is not negative; tells at most `most`. Returns how many.
///
/// # Safety
/// There is room for `most` events, and the module's facts.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn corelane_fio_poll(
    job: &mut Job,
    least: u32,
    most: u32,
    events: *mut Event,
    limit_ns: i64,
) -> u32 {
    let limit = u64::try_from(limit_ns).ok().map(Duration::from_nanos);
    // SAFETY: there are so many, and they are plain numbers that were set to zero when they were made (`shim.c`).
    let events = unsafe { std::slice::from_raw_parts_mut(events, most as usize) };
    let told = job.poll(least as usize, most as usize, limit, |index, done| {
        let failure = done.outcome.err();
        events[index] = Event {
            tag: done.tag,
            failure: failure.map_or(0, Failure::number),
            errno: failure.map_or(0, Failure::errno),
        };
    });
    u32::try_from(told).unwrap_or_else(|_| unreachable!("no more than `most`"))
}

/// Nothing reaches the memory of the job's I/Os any more.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn corelane_fio_quiet(job: &mut Job) {
    job.quiet();
}

/// Ends a job.
///
/// # Safety
/// See the module.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn corelane_fio_close(job: *mut Job) {
    // SAFETY: it comes from `corelane_fio_open`, and is used no more (fact of the module).
    drop(unsafe { Box::from_raw(job) });
}

/// The errno of a failure's number; EIO for what is none.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn corelane_fio_errno(failure: u32) -> c_int {
    Failure::of_number(failure).map_or(libc::EIO, Failure::errno)
}

/// Writes what a failure is, in words, as a C string into the `room` bytes at `text`.
///
/// # Safety
/// There is so much room, and no other use of it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn corelane_fio_explain(failure: u32, text: *mut u8, room: usize) {
    let said = Failure::of_number(failure).map_or_else(String::new, |failure| format!("corelane: {failure}"));
    // SAFETY: there are so many bytes, set to zero when they were made (`shim.c`).
    let text = unsafe { std::slice::from_raw_parts_mut(text, room) };
    let bytes = said.len().min(room.saturating_sub(1));
    text[..bytes].copy_from_slice(&said.as_bytes()[..bytes]);
    text[bytes..].fill(0);
}

/// The entry that fio looks for: it is told where the table of functions is, or null where this is another fio.
///
/// # Safety
/// `operations` is where fio wants the address of the table.
#[cfg(all(fio, not(test)))]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn get_ioengine(operations: &mut *mut c_void) {
    unsafe extern "C" {
        fn corelane_fio_operations() -> *mut c_void;
    }
    // SAFETY: it takes nothing, and returns the address of a table that stays, or null.
    *operations = unsafe { corelane_fio_operations() };
}

/// # Safety
/// Its texts are C strings or null.
unsafe fn given(options: &Options) -> Given {
    // SAFETY: they are C strings or null (this function's condition).
    let text = |text: *const c_char| unsafe { owned(text) };
    Given {
        address: text(options.address),
        port: u16::try_from(options.port).unwrap_or(0),
        subnqn: text(options.subnqn),
        hostnqn: text(options.hostnqn),
        hostid: text(options.hostid),
        pcie: text(options.pcie),
        header_digest: options.header_digest != 0,
        data_digest: options.data_digest != 0,
        flow_control: options.flow_control != 0,
        timeout: Duration::from_millis(options.timeout_ms.into()),
        depth: options.depth,
    }
}

/// # Safety
/// It is a C string or null.
unsafe fn owned(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: it is a C string (this function's condition), and copied at once.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned())
}
