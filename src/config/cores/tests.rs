//! Core lists that are taken, and core lists that are refused.

use proptest::prelude::*;

use super::*;

fn text(text: &str) -> CoreListText {
    CoreListText::Text(text.to_owned())
}

#[test]
fn lists_and_texts_are_taken_in_their_order() {
    let rows = [
        (CoreListText::List(vec![1]), vec![1]),
        (CoreListText::List(vec![5, 1]), vec![5, 1]),
        (text("1-3,5"), vec![1, 2, 3, 5]),
        (text(" 7 , 0 - 1 "), vec![7, 0, 1]),
        (text("1023"), vec![1023]),
    ];
    for (list, cores) in rows {
        assert_eq!(list.resolve(), Ok(cores), "{list:?}");
    }
}

#[test]
fn other_lists_are_refused_with_the_reason() {
    let rows = [
        (CoreListText::List(vec![]), CoreListError::Empty),
        (CoreListText::List(vec![1, 2, 1]), CoreListError::Duplicate { core: 1 }),
        (CoreListText::List(vec![1024]), CoreListError::TooHigh { core: 1024 }),
        (CoreListText::List(vec![u64::MAX]), CoreListError::TooHigh { core: u64::MAX }),
        (text(" "), CoreListError::Empty),
        (text("1,"), CoreListError::Malformed),
        (text("1-"), CoreListError::Malformed),
        (text("1-2-3"), CoreListError::Malformed),
        (text("+1"), CoreListError::Malformed),
        (text("a"), CoreListError::Malformed),
        (text("3-1"), CoreListError::Backwards { first: 3, last: 1 }),
        (text("1-3,2"), CoreListError::Duplicate { core: 2 }),
        (text("0-18446744073709551615"), CoreListError::TooHigh { core: 1024 }),
        (text("99999999999999999999"), CoreListError::TooHigh { core: u64::MAX }),
    ];
    for (list, error) in rows {
        assert_eq!(list.resolve(), Err(error), "{list:?}");
    }
}

#[test]
fn runs_are_shown_as_ranges() {
    let rows = [
        (vec![], ""),
        (vec![3], "3"),
        (vec![0, 1], "0-1"),
        (vec![0, 2, 3, 4, 9], "0,2-4,9"),
        (vec![5, 4], "5,4"),
    ];
    for (cores, text) in rows {
        assert_eq!(display(&cores), text);
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics_and_what_is_taken_is_shown_as_it_was_meant(list in "[-0-9, ]{0,20}") {
        if let Ok(cores) = text(&list).resolve() {
            prop_assert_eq!(text(&display(&cores)).resolve(), Ok(cores));
        }
    }
}
