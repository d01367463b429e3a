//! Which namespace is meant.

use super::*;

#[test]
fn the_first_namespace_is_meant_where_none_is_named() {
    assert_eq!(choose(0, vec![3, 7]).expect("a namespace"), 3);
    assert_eq!(choose(7, vec![3, 7]).expect("a namespace"), 7);
    assert!(matches!(choose(0, vec![]), Err(SurveyError::None)));
    let said = choose(1, vec![3, 7]).expect_err("there is no namespace 1").to_string();
    assert_eq!(said, "there is no active namespace 1; active are [3, 7]");
}

#[test]
fn an_impossible_size_is_refused() {
    assert!(matches!(found(1, 4096, u64::MAX / 2, 0), Err(SurveyError::Size(1))));
    assert_eq!(found(1, 512, 8, 0).expect("a size").bytes, 4096);
}
