//! A block device in memory that notes in which order commands take effect.

use std::sync::{Arc, Mutex};

use corelane::bdev::{
    Bdev, BdevError, Channel, Command, Geometry, Home, Malloc, Memory, OpenError, Submitted, Tag,
};
use corelane::mem::{self, Segment};
use corelane_reactors::poller::Wake;

/// What took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    /// With a block that begins with this byte; whether it was equal.
    Compared(u8, bool),
    /// A block that begins with this byte.
    Written(u8),
}

/// The first block of each effect, in order.
pub(crate) type Log = Arc<Mutex<Vec<(u64, Effect)>>>;

/// 2,048 blocks of 512 bytes. It lends nothing, so that every read is noted.
pub(crate) struct Recorder {
    memory: Malloc,
    geometry: Geometry,
    pub(crate) log: Log,
}

impl Recorder {
    pub(crate) fn new() -> Arc<Self> {
        let memory = Malloc::new("recorder", 1 << 20, 512).expect("memory");
        let geometry = Geometry { memory: Memory::Own, ..*memory.geometry() };
        Arc::new(Self { memory, geometry, log: Log::default() })
    }
}

impl Bdev for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }

    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn open(&self, home: &Home) -> Result<Box<dyn Channel>, OpenError> {
        Ok(Box::new(RecorderChannel(self.memory.open(home)?, Arc::clone(&self.log))))
    }
}

struct RecorderChannel(Box<dyn Channel>, Log);

fn first_byte(list: &[Segment]) -> u8 {
    let mut byte = [0];
    mem::copy_out(list[0].slice(0..1), &mut byte);
    byte[0]
}

impl Channel for RecorderChannel {
    fn submit(&mut self, tag: Tag, command: &Command<'_>) -> Submitted {
        let submitted = self.0.submit(tag, command);
        let noted = match *command {
            Command::Read { blocks, .. } => Some((blocks.first, Effect::Read)),
            Command::Write { blocks, from, .. } => Some((blocks.first, Effect::Written(first_byte(from)))),
            Command::Compare { blocks, with } => {
                let equal = submitted == Submitted::Done(Ok(()));
                Some((blocks.first, Effect::Compared(first_byte(with), equal)))
            }
            _ => None,
        };
        self.1.lock().expect("a test that goes on").extend(noted);
        submitted
    }

    fn poll(&mut self, done: &mut dyn FnMut(Tag, Result<(), BdevError>)) -> usize {
        self.0.poll(done)
    }

    fn outstanding(&self) -> usize {
        self.0.outstanding()
    }

    fn wake(&self) -> Wake {
        self.0.wake()
    }
}
