//! Long stories by chance: several records, failures, kills and power cuts, against what was promised.

use std::collections::BTreeMap;

use super::*;

/// How many stories are told, unless this variable says otherwise.
const STORIES: u64 = 150;
const STORIES_VARIABLE: &str = "CORELANE_POWER_CUT_STORIES";
const ACTS: usize = 40;
const RECORDS: usize = 3;

/// What may be found of each record: one value when the last operation was acknowledged.
type Promises = BTreeMap<String, Vec<Option<Vec<u8>>>>;

struct Story {
    random: Random,
    disk: Disk,
    store: Store<Disk>,
    promises: Promises,
    /// Whether the disk may hold, since the machine was started, something else than the running system sees and
    /// synchronises: then a process that starts again does not know what is on the disk.
    is_lossy: bool,
    serial: usize,
}

impl Story {
    fn new(seed: u64) -> Self {
        let disk = Disk::holding(&Survivor::new());
        let store = disk.store();
        let promises = (0..RECORDS).map(|record| (format!("record-{record}"), vec![None])).collect();
        Self { random: Random::new(seed), disk, store, promises, is_lossy: false, serial: 0 }
    }

    fn act(&mut self) {
        let name = format!("record-{}", self.random.below(RECORDS));
        let target = (self.random.below(5) > 0).then(|| self.bytes());
        match self.random.below(4) {
            0 => {
                let errno = [Errno::IO, Errno::NOSPC, Errno::ROFS, Errno::DQUOT][self.random.below(4)];
                let call = Call::ALL[self.random.below(Call::ALL.len())];
                let faults = [Fault::Fails(errno), Fault::MayReachDisk(errno), Fault::FailsAfterwards(errno)];
                let fault = faults[self.random.below(3)];
                self.disk.break_calls(call, fault);
                self.is_lossy |= call == Call::SyncDirectory || fault == Fault::MayReachDisk(errno);
            }
            1 => {
                let short = Fault::Short(1 + self.random.below(900));
                self.disk.break_calls(Call::Write, short);
            }
            _ => {}
        }
        let is_killed = self.random.below(6) == 0;
        if is_killed {
            let calls = self.disk.calls().len();
            self.disk.kill_at(calls + self.random.below(12));
        }
        let record = RecordName::new(&name).unwrap();
        let was_visible = self.disk.visible().contains(&name);
        let result = match &target {
            Some(bytes) => self.store.save(&record, bytes),
            None => self.store.remove(&record),
        };
        let promise = self.promises.get_mut(&name).unwrap();
        match result.map_err(|error| error.stage) {
            // A process that was started again does not know that a removal before it failed.
            Ok(()) if self.is_lossy && target.is_none() && !was_visible => promise.push(None),
            Ok(()) => *promise = vec![target],
            Err(Stage::Before) => {}
            Err(Stage::Unknown) => promise.push(target),
        }
        if is_killed {
            self.disk.restart();
            self.start(!self.is_lossy);
        }
        self.disk.repair();
        assert_eq!(self.disk.handles(), 0);
    }

    /// A power cut; the story goes on with what has survived.
    fn cut_power(&mut self) {
        for _ in 0..4 {
            let survivor = self.disk.survivors().draw(&mut self.random);
            check(&Disk::holding(&survivor).store(), &self.promises);
        }
        self.disk = Disk::holding(&self.disk.survivors().draw(&mut self.random));
        self.is_lossy = false;
        self.start(true);
    }

    /// A new process. What it finds is what it will hold to be true, and find again, unless synchronising failed.
    fn start(&mut self, is_certain: bool) {
        self.store = self.disk.store();
        let found = check(&self.store, &self.promises);
        if is_certain {
            self.promises = found.into_iter().map(|(name, record)| (name, vec![record])).collect();
        }
        let is_record = |name: &String| self.promises.contains_key(name);
        assert!(self.disk.visible().iter().all(is_record), "{:?}", self.disk.visible());
    }

    /// Up to a few sectors, different from all others at its start and its end.
    fn bytes(&mut self) -> Vec<u8> {
        self.serial += 1;
        let padding = self.random.below(2000);
        format!("{}{}{}", self.serial, ".".repeat(padding), self.serial).into_bytes()
    }
}

fn check(store: &Store<Disk>, promises: &Promises) -> BTreeMap<String, Option<Vec<u8>>> {
    let load = |name: &String| (name.clone(), store.load(&RecordName::new(name).unwrap()).unwrap());
    let found: BTreeMap<_, _> = promises.keys().map(load).collect();
    for (name, record) in &found {
        let allowed = &promises[name];
        assert!(
            allowed.contains(record),
            "{name}: {:?} of {:?}",
            record.as_ref().map(Vec::len),
            allowed.len()
        );
    }
    found
}

#[test]
fn what_was_promised_is_found_whatever_happens() {
    let stories = std::env::var(STORIES_VARIABLE).map_or(STORIES, |text| text.parse().unwrap());
    for seed in 0..stories {
        println!("seed {seed}");
        let mut story = Story::new(seed);
        for _ in 0..ACTS {
            story.act();
            if story.random.below(5) == 0 {
                story.cut_power();
            }
        }
    }
}
