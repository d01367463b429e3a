//! Stands between a host and a listener, so that the way between them can be cut and mended while both live.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// A way to `to` by a port of the loopback device.
pub(crate) struct Relay {
    to: SocketAddr,
    address: SocketAddr,
    way: Option<Way>,
}

/// A way that is not cut.
struct Way {
    cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// A way to `to`.
    pub(crate) fn new(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("a bound socket");
        Self { to, address, way: Some(Way::open(listener, to)) }
    }

    /// Where the host connects to.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends every connection, and refuses others.
    pub(crate) fn cut(&mut self) {
        let Some(Way { cut, streams, accepting }) = self.way.take() else { return };
        // SeqCst: the connection that follows is accepted by the thread that reads it.
        cut.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        accepting.join().expect("a thread that accepts");
        for stream in streams.lock().expect("a list of streams").drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Takes connections again.
    pub(crate) fn mend(&mut self) {
        assert!(self.way.is_none(), "it was cut before");
        self.way = Some(Way::open(TcpListener::bind(self.address).expect("the same port"), self.to));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.cut();
        }
    }
}

impl Way {
    fn open(listener: TcpListener, to: SocketAddr) -> Self {
        let (cut, streams) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<TcpStream>>>::default());
        let (is_cut, list) = (Arc::clone(&cut), Arc::clone(&streams));
        let accepting = thread::spawn(move || {
            while let Ok((host, _)) = listener.accept() {
                if is_cut.load(Ordering::SeqCst) {
                    return;
                }
                // A target that does not listen is one that refuses.
                let Ok(target) = TcpStream::connect(to) else { continue };
                let mut list = list.lock().expect("a list of streams");
                for (from, into) in [(&host, &target), (&target, &host)] {
                    let copy = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
                    list.push(copy(from));
                    carry(copy(from), copy(into));
                }
            }
        });
        Self { cut, streams, accepting }
    }
}

/// Carries bytes until one side ends, and then ends the other.
fn carry(mut from: TcpStream, mut into: TcpStream) {
    for stream in [&from, &into] {
        stream.set_nodelay(true).expect("an option of a socket");
    }
    thread::spawn(move || {
        // However it ends, both sides learn of it.
        let _ = io::copy(&mut from, &mut into);
        let _ = into.shutdown(Shutdown::Both);
    });
}
