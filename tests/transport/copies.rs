//! What a host is told of a Copy that failed.

use std::collections::VecDeque;
use std::sync::Arc;

use corelane::bdev::{
    Access, Bdev, BdevError, Channel, Command, CopyFault, Geometry, Home, Malloc, OpenError, Submitted, Tag,
};
use corelane::initiator::command;
use corelane::spec::status::Status;
use corelane_reactors::poller::Wake;

use crate::host::Wish;
use crate::rig::{Rig, settings};

const IO: usize = 1;

/// A device in memory whose copies all fail, each when it has copied as many ranges as its first source block says.
struct Faltering(Malloc);

struct FalteringChannel {
    memory: Box<dyn Channel>,
    failing: VecDeque<(Tag, u32)>,
}

impl Bdev for Faltering {
    fn name(&self) -> &str {
        "faltering"
    }

    fn geometry(&self) -> &Geometry {
        self.0.geometry()
    }

    fn open(&self, home: &Home) -> Result<Box<dyn Channel>, OpenError> {
        Ok(Box::new(FalteringChannel { memory: self.0.open(home)?, failing: VecDeque::new() }))
    }
}

impl Channel for FalteringChannel {
    fn submit(&mut self, tag: Tag, command: &Command<'_>) -> Submitted {
        let Command::Copy { ranges, .. } = command else { return self.memory.submit(tag, command) };
        self.failing.push_back((tag, u32::try_from(ranges[0].first).expect("a small number")));
        Submitted::Pending
    }

    fn poll(&mut self, done: &mut dyn FnMut(Tag, Result<(), BdevError>)) -> usize {
        // The last first, so that none is mistaken for another.
        let count = self.failing.len();
        while let Some((tag, ranges)) = self.failing.pop_back() {
            done(tag, Err(BdevError::Media { access: Access::Write }.after(ranges)));
        }
        count
    }

    fn outstanding(&self) -> usize {
        self.failing.len()
    }

    fn wake(&self) -> Wake {
        if self.failing.is_empty() { Wake::Never } else { Wake::Soon }
    }
}

#[test]
fn dw0_is_the_first_range_that_was_not_copied() {
    let mut rig = Rig::connected(&settings(), &Wish::default(), |_| {
        Arc::new(Faltering(Malloc::new("faltering", 1 << 20, 512).expect("memory")))
    });
    for _ in 0..3 {
        for copied in 0..4 {
            let ranges: Vec<u8> =
                (0..4).flat_map(|range| command::copy_range(copied + range * 8, 1)).collect();
            let cid = u16::try_from(copied).expect("a small number");
            rig.hosts[IO].in_capsule(cid, command::copy(1, 100, 4, false), &ranges);
        }
        let mut told: Vec<_> = (0..4)
            .map(|_| {
                let cqe = rig.cqe(IO);
                assert_eq!(cqe.status(), Status::WRITE_FAULT);
                (cqe.cid.get().into(), cqe.dw0.get())
            })
            .collect();
        told.sort_unstable();
        assert_eq!(told, [(0_u32, 0), (1, 1), (2, 2), (3, 3)]);
        // What is refused before anything is copied has copied nothing, and so has every other command.
        rig.hosts[IO].in_capsule(9, command::copy(1, 100, 1, false), &command::copy_range(9999, 1));
        let cqe = rig.cqe(IO);
        assert_eq!((cqe.status(), cqe.dw0.get()), (Status::LBA_OUT_OF_RANGE.with_dnr(), 0));
        rig.hosts[IO].plain(9, command::flush(1));
        let cqe = rig.cqe(IO);
        assert_eq!((cqe.status(), cqe.dw0.get()), (Status::SUCCESS, 0));
    }
}

#[test]
fn errors_of_copies_are_the_errors_with_a_number() {
    let media = BdevError::Media { access: Access::Read };
    let errors = [
        media,
        BdevError::Busy,
        BdevError::WriteProtected,
        BdevError::NoSpace,
        BdevError::Device { again: true },
        BdevError::Device { again: false },
        BdevError::Aborted,
        BdevError::Gone,
    ];
    for error in errors {
        assert_eq!(error.after(0), error);
        assert_eq!(error.after(256), error, "no copy has so many ranges");
        for ranges in [1, 255] {
            assert_eq!(error.after(ranges).parts(), (error, u8::try_from(ranges).expect("8 bits")));
        }
    }
    let fault = CopyFault::Media { access: Access::Read };
    assert_eq!(media.after(2), BdevError::Copied { ranges: 2, fault });
    for error in [BdevError::OutOfRange, BdevError::Length, BdevError::Unsupported] {
        assert_eq!(error.after(3), error, "nothing was touched");
    }
}
