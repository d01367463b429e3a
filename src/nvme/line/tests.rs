//! Words between two sides: what each of them finds.

use super::*;

#[test]
fn an_order_is_followed_once_and_by_name() {
    let line = Line::new(4);
    let ended = Order::new().with_phase(Phase::Ended).with_keep(true).with_epoch(7);
    assert_eq!(line.order(), Order::new());
    assert!(line.has_followed(Order::new()));
    line.give(ended);
    assert_eq!((line.order(), line.order().phase()), (ended, Phase::Ended));
    assert!(!line.has_followed(ended));
    line.follow(ended);
    assert!(line.has_followed(ended) && !line.has_followed(ended.with_epoch(8)));
}

#[test]
fn a_wish_is_taken_once_and_keeps_its_force() {
    let line = Line::new(4);
    assert_eq!(line.take_wish(), None);
    let wish = Wish::new().with_reset(true).with_epoch(3);
    line.want(wish.with_force(true));
    line.want(wish);
    assert_eq!(line.take_wish(), Some(wish.with_force(true)));
    assert_eq!(line.take_wish(), None);
    // But not into the next epoch.
    line.want(wish.with_force(true));
    line.want(wish.with_epoch(4));
    assert_eq!(line.take_wish(), Some(wish.with_epoch(4)));
}

#[test]
fn aborts_are_taken_in_batches_and_none_is_lost() {
    let line = Line::new(4);
    for slot in 0..4u16 {
        line.abort(usize::from(slot), 0x100 + slot);
    }
    line.abort(4, 9);
    let mut taken = Vec::new();
    for _ in 0..3 {
        let mut room = 2;
        line.take_aborts(|cid| {
            room -= 1;
            room >= 0 && {
                taken.push(cid);
                true
            }
        });
    }
    assert_eq!(taken, [0x100, 0x101, 0x102, 0x103]);
}
