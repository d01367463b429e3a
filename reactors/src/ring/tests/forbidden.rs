//! A process that may not use io_uring, which a thread with a filter of its own is.
#![expect(unsafe_code, reason = "a filter of system calls is installed by its address")]

use std::{ptr, thread};

use super::*;

/// io_uring_setup, and the two calls after it.
const NUMBERS: [libc::c_long; 3] =
    [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];

/// From now on the kernel answers these system calls of this thread with `errno`; every other one works.
fn filter(numbers: &[libc::c_long], errno: Errno) {
    let word = |number: libc::c_long| u32::try_from(number).unwrap();
    let statement = |code: u32, jt: usize, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: u8::try_from(jt).unwrap(),
        jf: 0,
        k,
    };
    // The number of the call is the first word of what a filter is given.
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (index, &number) in numbers.iter().enumerate() {
        let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        program.push(statement(equal, numbers.len() - index, word(number)));
    }
    let end = libc::BPF_RET | libc::BPF_K;
    program.push(statement(end, 0, libc::SECCOMP_RET_ALLOW));
    program.push(statement(end, 0, libc::SECCOMP_RET_ERRNO | errno.raw_os_error().cast_unsigned()));
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap(),
        filter: ptr::from_mut(program.as_mut_slice()).cast(),
    };
    // SAFETY: no address is passed; it only gives up a right of this thread.
    let gave_up = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: `program` names as many statements as it says, which live beyond the call; the kernel copies them.
    let filtered =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!((gave_up, filtered), (0, 0), "{}", io::Error::last_os_error());
}

#[test]
fn a_filter_of_system_calls_is_named_and_what_it_has_to_let_through() {
    let rows = [
        (&NUMBERS[..], Errno::PERM, "io_uring_setup, io_uring_enter and io_uring_register"),
        (&NUMBERS[..], Errno::ACCESS, "(seccomp)"),
        // As the filters of some container programs answer what they do not know.
        (
            &NUMBERS[..],
            Errno::NOSYS,
            "this kernel has no io_uring, or a filter of system calls (seccomp) hides it",
        ),
        // One that forgets the third call, which is met after the ring was made.
        (&NUMBERS[2..], Errno::PERM, "io_uring_setup, io_uring_enter and io_uring_register"),
    ];
    for (numbers, errno, words) in rows {
        let refused = thread::spawn(move || {
            filter(numbers, errno);
            Ring::open(&Options::default()).map(drop)
        });
        let refused = refused.join().unwrap().unwrap_err();
        assert!(refused.to_string().contains(words), "{errno}: {refused}");
    }
    // Other threads are not concerned.
    ring(&Options::default());
}
