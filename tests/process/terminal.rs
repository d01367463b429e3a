//! `corelane top` on a terminal: it draws, follows the size, ends as it is asked to, and leaves the terminal as it was.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{self, OpenptFlags};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::metrics::Metered;
use crate::program::wait;

/// From what is done to what is seen of it.
const STEP_MAX: Duration = Duration::from_secs(20);
/// Begins and ends the use of the whole screen.
const TAKEN: &str = "\x1b[?1049h";
const GIVEN_BACK: &str = "\x1b[?25h\x1b[?1049l";
/// Begins and ends a page.
const HOME: &str = "\x1b[H";
const END: &str = "\x1b[J";

/// `corelane top` on a terminal of its own.
struct Terminal {
    /// Where its keys are typed.
    keyboard: File,
    /// What it shows; held open, so that it can be asked for its modes after the end.
    screen: OwnedFd,
    before: Termios,
    child: Child,
    output: Receiver<Vec<u8>>,
    /// All that was written to it.
    shown: String,
}

impl Terminal {
    fn start(url: &str) -> Self {
        let near = pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        pty::grantpt(&near).expect("a right");
        pty::unlockpt(&near).expect("its other end");
        let screen =
            pty::ioctl_tiocgptpeer(&near, OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("its other end");
        resize(&near, 40, 100);
        let before = tcgetattr(&screen).expect("its modes");
        assert!(before.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));
        let end = || Stdio::from(screen.try_clone().expect("a descriptor"));
        // It is the terminal of a session, whose keys become signals.
        let child = Command::new("setsid")
            .args([
                "--ctty",
                "--wait",
                env!("CARGO_BIN_EXE_corelane"),
                "top",
                "--interval",
                "100ms",
                "--url",
                url,
            ])
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("starting setsid");
        let keyboard = File::from(near);
        let mut reader = keyboard.try_clone().expect("a descriptor");
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { keyboard, screen, before, child, output, shown: String::new() }
    }

    /// Waits until what was shown is as wanted.
    fn until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + STEP_MAX;
        while !wanted(&self.shown) {
            let left = deadline.saturating_duration_since(Instant::now());
            let bytes = self.output.recv_timeout(left);
            let bytes = bytes.unwrap_or_else(|_| panic!("no {what}: {:?}", last_page(&self.shown)));
            self.shown.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    fn until_drawn(&mut self) {
        self.until("two pages", |shown| {
            shown.contains(TAKEN) && shown.contains("REACTOR  CORE") && shown.matches(END).count() >= 2
        });
        let modes = tcgetattr(&self.screen).expect("its modes").local_modes;
        assert!(!modes.intersects(LocalModes::ICANON | LocalModes::ECHO), "keys are read one by one");
    }

    /// Waits for its end; gives the exit status, and what it said after it had given the screen back.
    fn finish(mut self) -> (Option<i32>, String) {
        wait(&self.child, STEP_MAX);
        let code = self.child.wait().expect("waiting for it").code();
        self.until("the screen that was there before", |shown| shown.contains(GIVEN_BACK));
        let after = tcgetattr(&self.screen).expect("its modes");
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
        let words = if code == Some(0) { "" } else { "\n" };
        self.until("its last words", |shown| {
            shown.split(GIVEN_BACK).nth(1).is_some_and(|rest| rest.ends_with(words))
        });
        let (_, last) = self.shown.split_once(GIVEN_BACK).expect("it was there");
        (code, last.to_owned())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(near: impl AsFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(near, size).expect("a new size");
}

/// The lines of the last whole page.
fn last_page(shown: &str) -> Vec<&str> {
    let (pages, _) = shown.rsplit_once(END).unwrap_or_default();
    let (_, page) = pages.rsplit_once(HOME).unwrap_or_default();
    // The terminal makes "\r\n" of each "\n".
    page.lines().map(|line| line.trim_end_matches('\r').trim_end_matches("\x1b[K")).collect()
}

#[test]
fn top_draws_follows_the_size_and_ends_at_q_or_ctrl_c() {
    let target = Metered::start();
    for key in [b'q', 3] {
        let mut terminal = Terminal::start(&target.url());
        terminal.until_drawn();
        assert!(last_page(&terminal.shown).iter().any(|line| line.len() > 20), "{:?}", terminal.shown);
        resize(&terminal.keyboard, 4, 20);
        terminal.until("a small page", |shown| {
            let lines = last_page(shown);
            lines.len() == 3 && lines.iter().all(|line| line.chars().count() <= 20)
        });
        terminal.keyboard.write_all(&[b'x', key]).expect("typing");
        let (code, last) = terminal.finish();
        assert_eq!((code, last.as_str()), (Some(0), ""));
    }
    target.program.stop();
}

#[test]
fn top_gives_the_screen_back_and_says_so_when_the_target_is_gone() {
    let target = Metered::start();
    let mut terminal = Terminal::start(&target.url());
    terminal.until_drawn();
    target.program.stop();
    let (code, last) = terminal.finish();
    assert_eq!(code, Some(1), "{last}");
    assert!(
        last.contains("cannot connect") || last.contains("failed") || last.contains("breaks off"),
        "{last}"
    );
}
