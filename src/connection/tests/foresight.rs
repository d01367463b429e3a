//! What a target can say of commands before their turn.

use super::pair::{Blob, TARGET, sqe};
use super::wire;
use crate::connection::controller::{Connection, Event};
use crate::pdu::icreq;

fn opened(header_digest: bool, data_digest: bool) -> Connection<Blob> {
    let mut connection = Connection::new(&TARGET);
    let request = icreq::Request { header_digest, data_digest, alignment: 4, r2t_max: 1 };
    assert!(matches!(connection.next(&wire::icreq(&request)), Ok((_, Event::Opened))));
    connection
}

#[test]
fn commands_are_foreseen_as_they_come() {
    let commands = [(1, 0), (2, 512), (3, 4096), (4, 0), (5, 8192)];
    for (header_digest, data_digest) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut connection = opened(header_digest, data_digest);
        let stream: Vec<u8> = commands
            .iter()
            .flat_map(|&(cid, bytes)| {
                wire::capsule(&sqe(1, cid, 0, false), &vec![7; bytes], header_digest, data_digest)
            })
            .collect();
        let (mut at, mut foreseen) = (0, Vec::new());
        while let Some((sqe, data_bytes, total)) = connection.foresee(&stream[at..]) {
            foreseen.push((sqe.cid.get(), data_bytes));
            at += total;
        }
        assert_eq!(foreseen, commands);
        assert_eq!(at, stream.len());
        let mut at = 0;
        for (cid, bytes) in commands {
            let (taken, event) = connection.next(&stream[at..]).unwrap();
            let Event::Command { sqe, data, intact: true } = event else { panic!("{event:?}") };
            assert_eq!((sqe.cid.get(), data.len()), (cid, bytes));
            at += taken;
        }
    }
}

#[test]
fn nothing_is_foreseen_where_no_command_begins() {
    let connection = opened(false, false);
    let capsule = wire::capsule(&sqe(1, 1, 0, false), &[7; 512], false, false);
    for bytes in 0..72 {
        assert!(connection.foresee(&capsule[..bytes]).is_none(), "{bytes}");
    }
    assert!(connection.foresee(&capsule[..72]).is_some());
    assert!(connection.foresee(&wire::h2c_data(1, 0, 0, &[7; 64], true, false, false)).is_none());
    // One of another shape than was agreed on.
    assert!(connection.foresee(&wire::capsule(&sqe(1, 1, 0, false), &[7; 512], true, false)).is_none());
}
