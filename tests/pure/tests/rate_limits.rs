//! The arithmetic of rates, and the bounded table that keeps them.

use batchcortex_pure::budget_table::{Place, SETS, Table, WAYS};
use batchcortex_pure::gcra::{Arrival, MINUTE, arrive};

const NOW: i64 = 800_000_000_000_000;
const SECOND: i64 = 1_000_000;

/// How many of `arrivals` at once are admitted, and the arrival time that is left.
fn burst(mut tat: i64, now: i64, per_minute: i64, arrivals: i64) -> (i64, i64) {
    let mut admitted = 0;
    for _ in 0..arrivals {
        if let Arrival::Admitted(next) = arrive(tat, now, per_minute) {
            (tat, admitted) = (next, admitted + 1);
        }
    }
    (admitted, tat)
}

// control: A10
#[test]
fn a_minutes_budget_may_be_spent_at_once_and_no_more() {
    for per_minute in [1, 5, 10, 60, 100, 7, 59, 60_000] {
        let (admitted, _) = burst(0, NOW, per_minute, per_minute * 3 + 10);
        // An interval is rounded down to microseconds: at most one more than the rate fits.
        assert!(
            (per_minute..=per_minute + 1).contains(&admitted),
            "{per_minute} a minute admitted {admitted}"
        );
    }
}

// control: A10
#[test]
fn a_budget_comes_back_evenly() {
    let (_, tat) = burst(0, NOW, 10, 10);
    assert_eq!(arrive(tat, NOW, 10), Arrival::Refused(6 * SECOND));
    assert_eq!(arrive(tat, NOW + 6 * SECOND - 1, 10), Arrival::Refused(1));
    let Arrival::Admitted(tat) = arrive(tat, NOW + 6 * SECOND, 10) else {
        panic!("one came back after six seconds");
    };
    assert_eq!(arrive(tat, NOW + 6 * SECOND, 10), Arrival::Refused(6 * SECOND));
    let (admitted, _) = burst(tat, NOW + 6 * SECOND + MINUTE, 10, 30);
    assert_eq!(
        admitted, 10,
        "whole again after a minute, and not more than whole"
    );
}

#[test]
fn whoever_stays_below_the_rate_never_waits() {
    let mut tat = 0;
    for i in 0..10_000 {
        match arrive(tat, NOW + i * 600_000, 100) {
            Arrival::Admitted(next) => tat = next,
            refused => panic!("arrival {i}: {refused:?}"),
        }
    }
}

#[test]
fn a_huge_burst_costs_no_more_waiting_than_a_small_one() {
    let (_, tat) = burst(0, NOW, 10, 10);
    let (admitted, after) = burst(tat, NOW, 10, 1_000_000);
    assert_eq!((admitted, after), (0, tat), "what is refused is not counted");
    assert_eq!(arrive(after, NOW, 10), Arrival::Refused(6 * SECOND));
}

#[test]
fn a_clock_set_back_keeps_nobody_waiting_for_more_than_the_budget() {
    let (_, tat) = burst(0, NOW, 10, 10);
    for back in [SECOND, MINUTE, 60 * MINUTE, NOW] {
        match arrive(tat, NOW - back, 10) {
            Arrival::Refused(wait) => assert!(wait <= 6 * SECOND, "back by {back}: {wait}"),
            Arrival::Admitted(_) => panic!("a clock set back gives nothing back"),
        }
        // It is as if the budget had been spent just now: it comes back from the clock's new time on.
        assert!(matches!(arrive(tat, NOW - back, 10), Arrival::Refused(_)));
    }
}

#[test]
fn the_edges_of_the_numbers_hold() {
    assert!(matches!(arrive(0, 0, 1), Arrival::Admitted(_)));
    assert!(matches!(arrive(i64::MAX, 0, 10), Arrival::Refused(_)));
    assert!(matches!(arrive(i64::MIN, 0, 10), Arrival::Admitted(_)));
    assert!(
        matches!(arrive(0, NOW, 0), Arrival::Admitted(_)),
        "a rate below one counts as one"
    );
    assert!(matches!(arrive(0, NOW, -5), Arrival::Admitted(_)));
    assert!(matches!(arrive(0, NOW, i64::MAX), Arrival::Admitted(_)));
}

fn table() -> Box<Table> {
    Box::new(Table::new([7; 32]))
}

/// Subjects that fall into one set.
fn neighbours(table: &Table, count: usize) -> Vec<Place> {
    let set = table.place(0, b"0").set;
    (0..)
        .map(|i: u32| table.place(0, i.to_string().as_bytes()))
        .filter(|place| place.set == set)
        .take(count)
        .collect()
}

// control: A10
#[test]
fn subjects_and_budgets_are_counted_apart() {
    let mut table = table();
    let (one, other) = (table.place(1, b"one"), table.place(1, b"other"));
    let of_another_budget = table.place(2, b"one");
    assert!(matches!(table.arrive(one, NOW, 1), Arrival::Admitted(_)));
    assert!(matches!(table.arrive(one, NOW, 1), Arrival::Refused(_)));
    assert!(matches!(table.arrive(other, NOW, 1), Arrival::Admitted(_)));
    assert!(matches!(
        table.arrive(of_another_budget, NOW, 1),
        Arrival::Admitted(_)
    ));
    assert_eq!(table.in_use(NOW), 3);
    assert_eq!(table.in_use(NOW + MINUTE), 0);
    assert_ne!(
        Table::new([8; 32]).place(1, b"one"),
        one,
        "places depend on the secret"
    );
}

// control: A10
#[test]
fn a_full_set_gives_up_the_oldest() {
    let mut table = table();
    let places = neighbours(&table, WAYS + 1);
    for (i, place) in places.iter().enumerate().take(WAYS) {
        assert!(matches!(
            table.arrive(*place, NOW + i as i64, 1),
            Arrival::Admitted(_)
        ));
    }
    let later = NOW + WAYS as i64;
    for place in &places[..WAYS] {
        assert!(matches!(table.arrive(*place, later, 1), Arrival::Refused(_)));
    }
    // One more than fits: the oldest goes, all others stay.
    assert!(matches!(
        table.arrive(places[WAYS], later, 1),
        Arrival::Admitted(_)
    ));
    for place in &places[1..] {
        assert!(matches!(table.arrive(*place, later, 1), Arrival::Refused(_)));
    }
    assert!(matches!(table.arrive(places[0], later, 1), Arrival::Admitted(_)));
}

#[test]
fn the_table_never_grows() {
    let mut table = table();
    for i in 0..200_000u32 {
        let place = table.place(0, &i.to_be_bytes());
        table.arrive(place, NOW + i64::from(i), 100);
    }
    let in_use = table.in_use(NOW + 200_000);
    assert!(in_use <= SETS * WAYS);
    assert!(in_use > SETS * WAYS * 9 / 10, "{in_use}");
}

#[test]
fn a_refusal_is_reported_once_until_one_is_admitted() {
    let mut table = table();
    let place = table.place(0, b"x");
    table.arrive(place, NOW, 1);
    assert!(matches!(table.arrive(place, NOW, 1), Arrival::Refused(_)));
    assert!(table.report(place));
    assert!(!table.report(place));
    table.arrive(place, NOW + MINUTE, 1);
    assert!(table.report(place));
}
