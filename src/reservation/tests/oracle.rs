//! The dumbest possible target: lists, numbers, and the rules one after the other. Shares nothing with what it judges.

/// A command as its fields are on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    pub(super) opcode: u8,
    pub(super) action: u8,
    pub(super) iekey: bool,
    pub(super) cptpl: u8,
    pub(super) rtype: u8,
    pub(super) crkey: u64,
    pub(super) second_key: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Oracle {
    pub(super) generation: u64,
    pub(super) ptpl: bool,
    /// Host and key, in the order of registration.
    pub(super) registrants: Vec<(u8, u64)>,
    pub(super) rtype: u8,
    /// Of types 1 to 4.
    pub(super) holder: Option<u8>,
}

/// What a command does beside changing the state: notices as host and number, and whose commands are aborted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Deeds {
    pub(super) notices: Vec<(u8, u8)>,
    pub(super) aborted: Vec<u8>,
}

pub(super) const CONFLICT: u8 = 0x83;
pub(super) const INVALID: u8 = 0x02;

impl Oracle {
    pub(super) fn new() -> Self {
        Self { generation: 0, ptpl: false, registrants: Vec::new(), rtype: 0, holder: None }
    }

    pub(super) fn key(&self, host: u8) -> Option<u64> {
        self.registrants.iter().find(|registrant| registrant.0 == host).map(|registrant| registrant.1)
    }

    pub(super) fn holds(&self, host: u8) -> bool {
        match self.rtype {
            0 => false,
            1..=4 => self.holder == Some(host),
            _ => self.key(host).is_some(),
        }
    }

    /// Read and write, from the table of the rules.
    pub(super) fn rights(&self, host: u8) -> &'static str {
        let column = if self.holds(host) {
            0
        } else if self.key(host).is_some() {
            1
        } else {
            2
        };
        [
            ["rw", "rw", "rw"],
            ["rw", "r", "r"],
            ["rw", "", ""],
            ["rw", "rw", "r"],
            ["rw", "rw", ""],
            ["rw", "rw", "r"],
            ["rw", "rw", ""],
        ][usize::from(self.rtype)][column]
    }

    /// The state after the command, or the status code that refuses it.
    pub(super) fn apply(&self, host: u8, fields: &Fields) -> Result<(Self, Deeds), u8> {
        let mut after = self.clone();
        let mut deeds = Deeds::default();
        match fields.opcode {
            0x0d => after.register(host, fields, &mut deeds)?,
            0x11 => after.acquire(host, fields, &mut deeds)?,
            _ => after.release(host, fields, &mut deeds)?,
        }
        deeds.notices.retain(|notice| notice.0 != host);
        deeds.notices.sort_unstable();
        deeds.aborted.sort_unstable();
        Ok((after, deeds))
    }

    fn register(&mut self, host: u8, fields: &Fields, deeds: &mut Deeds) -> Result<(), u8> {
        if fields.action > 2 || fields.cptpl == 1 {
            return Err(INVALID);
        }
        let own = self.key(host);
        if fields.action == 0 {
            match own {
                None if fields.second_key == 0 => return Err(INVALID),
                None => self.registrants.push((host, fields.second_key)),
                Some(key) if key != fields.second_key => return Err(CONFLICT),
                Some(_) => {}
            }
        }
        if fields.action == 1 {
            if own.is_none() || (!fields.iekey && own != Some(fields.crkey)) {
                return Err(CONFLICT);
            }
            let (held, rtype) = (self.holder == Some(host), self.rtype);
            self.remove(host);
            if held && (rtype == 3 || rtype == 4) {
                self.tell_registrants(2, deeds);
            }
        }
        if fields.action == 2 {
            if fields.second_key == 0 {
                return Err(INVALID);
            }
            if !fields.iekey && own != Some(fields.crkey) {
                return Err(CONFLICT);
            }
            self.registrants.retain(|registrant| registrant.0 != host);
            self.registrants.push((host, fields.second_key));
        }
        match fields.cptpl {
            2 => self.ptpl = false,
            3 => self.ptpl = true,
            _ => {}
        }
        self.generation += 1;
        Ok(())
    }

    fn acquire(&mut self, host: u8, fields: &Fields, deeds: &mut Deeds) -> Result<(), u8> {
        let exists = (1..=6).contains(&fields.rtype);
        if fields.action > 2 || fields.iekey || (fields.action == 0 && !exists) {
            return Err(INVALID);
        }
        if self.key(host) != Some(fields.crkey) {
            return Err(CONFLICT);
        }
        if fields.action == 0 {
            if self.rtype == 0 {
                self.hold(host, fields.rtype);
            } else if !self.holds(host) || self.rtype != fields.rtype {
                return Err(CONFLICT);
            }
            return Ok(());
        }
        let (old_type, before) = (self.rtype, self.registrants.clone());
        let victims: Vec<u8> =
            before.iter().filter(|(_, key)| *key == fields.second_key).map(|(host, _)| *host).collect();
        let holders_key = self.holder.and_then(|holder| self.key(holder));
        let takes_over = match old_type {
            0 => false,
            1..=4 if holders_key == Some(fields.second_key) => true,
            1..=4 if fields.second_key == 0 => return Err(INVALID),
            1..=4 => false,
            _ if fields.second_key == 0 => true,
            _ if victims.is_empty() => return Err(CONFLICT),
            _ => false,
        };
        if takes_over && !exists {
            return Err(INVALID);
        }
        for (other, _) in before.clone() {
            let everybody = old_type >= 5 && takes_over;
            if (victims.contains(&other) || everybody) && !(takes_over && other == host) {
                self.remove(other);
                deeds.notices.push((other, 1));
                if fields.action == 2 {
                    deeds.aborted.push(other);
                }
            }
        }
        if takes_over {
            self.hold(host, fields.rtype);
            if fields.rtype != old_type {
                self.tell_registrants(2, deeds);
            }
        }
        self.generation += 1;
        Ok(())
    }

    fn release(&mut self, host: u8, fields: &Fields, deeds: &mut Deeds) -> Result<(), u8> {
        if fields.action > 1 || fields.iekey {
            return Err(INVALID);
        }
        if self.key(host) != Some(fields.crkey) {
            return Err(CONFLICT);
        }
        if fields.action == 1 {
            self.tell_registrants(3, deeds);
            self.registrants.clear();
            (self.rtype, self.holder) = (0, None);
            self.generation += 1;
        } else if self.holds(host) {
            if self.rtype != fields.rtype {
                return Err(INVALID);
            }
            if self.rtype >= 3 {
                self.tell_registrants(2, deeds);
            }
            (self.rtype, self.holder) = (0, None);
        }
        Ok(())
    }

    fn hold(&mut self, host: u8, rtype: u8) {
        self.rtype = rtype;
        self.holder = if rtype <= 4 { Some(host) } else { None };
    }

    fn remove(&mut self, host: u8) {
        self.registrants.retain(|registrant| registrant.0 != host);
        if self.holder == Some(host) || (self.rtype >= 5 && self.registrants.is_empty()) {
            (self.rtype, self.holder) = (0, None);
        }
    }

    fn tell_registrants(&self, notice: u8, deeds: &mut Deeds) {
        deeds.notices.extend(self.registrants.iter().map(|registrant| (registrant.0, notice)));
    }
}
