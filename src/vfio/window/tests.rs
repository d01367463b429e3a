//! A file stands in for a device: the window shows it, loses it while others write, and gets it back.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::Window;

const PAGE: usize = 4096;

/// A file whose second page holds `0x11` everywhere.
fn device() -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[0; PAGE]).unwrap();
    file.write_all(&[0x11; PAGE]).unwrap();
    file
}

#[test]
fn registers_are_read_and_written_where_they_lie() {
    let (window, device) = (Window::new(PAGE).unwrap(), device());
    assert_eq!(window.read_u32(0), u32::MAX);
    window.show(&device, PAGE as u64).unwrap();
    assert_eq!(window.read_u32(PAGE - 4), 0x1111_1111);
    window.write_u32(8, 0x0102_0304);
    let mut bytes = [0; 4];
    device.read_exact_at(&mut bytes, PAGE as u64 + 8).unwrap();
    assert_eq!(bytes, [4, 3, 2, 1]);
}

#[test]
fn hidden_registers_read_as_ones_and_take_nothing() {
    let (window, device) = (Window::new(PAGE).unwrap(), device());
    window.show(&device, PAGE as u64).unwrap();
    window.hide().unwrap();
    window.write_u32(0, 7);
    assert_eq!(window.read_u32(0), u32::MAX);
    window.hide().unwrap();
    assert_eq!(window.read_u32(0), u32::MAX);
    window.show(&device, PAGE as u64).unwrap();
    assert_eq!(window.read_u32(0), 0x1111_1111);
}

#[test]
fn a_device_that_cannot_be_shown_changes_nothing() {
    let (window, device) = (Window::new(PAGE).unwrap(), device());
    assert!(window.show(&device, 1).is_err());
    assert_eq!(window.read_u32(0), u32::MAX);
    window.show(&device, PAGE as u64).unwrap();
    assert!(window.show(&device, 1).is_err());
    assert_eq!(window.read_u32(0), 0x1111_1111);
}

#[test]
fn registers_leave_while_other_threads_use_them() {
    let (window, device, done) = (Window::new(PAGE).unwrap(), device(), AtomicBool::new(false));
    window.show(&device, PAGE as u64).unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    window.write_u32(0, 0x1111_1111);
                    // Never what is mapped in between.
                    assert!([0x1111_1111, u32::MAX].contains(&window.read_u32(4)));
                }
            });
        }
        for _ in 0..500 {
            window.hide().unwrap();
            // The file shrinks: whoever touched its pages now would be killed.
            device.set_len(0).unwrap();
            device.write_all_at(&[0x11; PAGE], PAGE as u64).unwrap();
            window.show(&device, PAGE as u64).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
#[should_panic(expected = "offset < self.len")]
fn registers_outside_are_nobodys() {
    Window::new(PAGE).unwrap().read_u32(PAGE);
}

#[test]
#[should_panic(expected = "is_multiple_of")]
fn registers_between_words_are_nobodys() {
    Window::new(PAGE).unwrap().write_u32(2, 0);
}
