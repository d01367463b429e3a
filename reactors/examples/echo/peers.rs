//! Peers that try the echo.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

/// A hundred peers, and one that sends 8 MiB before it reads: it gets them back, and nobody else has to wait.
pub(crate) fn try_it(local: SocketAddr) -> io::Result<()> {
    let mut peers = (0..100).map(|_| TcpStream::connect(local)).collect::<io::Result<Vec<_>>>()?;
    let (mut sending, mut answer) = (peers[0].try_clone()?, vec![0; 8 << 20]);
    let sender = thread::spawn(move || sending.write_all(&vec![7; 8 << 20]));
    for (number, peer) in (0u8..).zip(&mut peers).skip(1) {
        peer.write_all(&[number; 4096])?;
        peer.read_exact(&mut answer[..4096])?;
        assert_eq!(answer[..4096], [number; 4096]);
    }
    peers[0].read_exact(&mut answer)?;
    assert!(answer.iter().all(|&byte| byte == 7));
    sender.join().expect("the sender does not panic")
}
