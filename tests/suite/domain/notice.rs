//! When notices are due. Every date below was worked out by hand.

use chrono::{DateTime, Duration, Utc};
use keyward::domain::{
    key::Life,
    notice::{Expiring, Stage, digest, due, extended, next_digest, still_true},
    tenant::GraceHistory,
    time::{Time, days},
    token::{Purpose, Token},
};
use proptest::prelude::*;

fn at(text: &str) -> Time {
    DateTime::parse_from_rfc3339(&format!("{}:00Z", text.replace(' ', "T"))).unwrap().with_timezone(&Utc)
}

fn grace(days: u32) -> GraceHistory {
    GraceHistory::new(vec![(at("2020-01-01 00:00"), days)])
}

/// A key that was given its expiry at `set` in a tenant with these thresholds and this grace.
struct Case {
    life: Life,
    set_at: Time,
    thresholds: Vec<u32>,
    grace: GraceHistory,
}

fn case(set_at: &str, expires_at: &str, thresholds: &[u32], grace_days: u32) -> Case {
    let life = Life { expires_at: Some(at(expires_at)), ..Life::default() };
    Case { life, set_at: at(set_at), thresholds: thresholds.to_vec(), grace: grace(grace_days) }
}

impl Case {
    fn due(&self, told: Option<Stage>, now: Time) -> Option<Stage> {
        due(&Expiring { life: self.life, set_at: self.set_at, thresholds: &self.thresholds, grace: &self.grace, told }, now)
    }

    /// What each digest from `from` to `to` says, where it says something.
    fn digests(&self, from: &str, to: &str) -> Vec<(String, Stage)> {
        let (mut now, mut told, mut said) = (at(from), None, Vec::new());
        while now <= at(to) {
            if let Some(stage) = self.due(told, now) {
                told = Some(stage);
                said.push((now.format("%-d %b").to_string(), stage));
            }
            now += days(1);
        }
        said
    }
}

fn said(list: &[(&str, Stage)]) -> Vec<(String, Stage)> {
    list.iter().map(|(day, stage)| ((*day).to_owned(), *stage)).collect()
}

#[test]
fn digests_leave_at_six() {
    assert_eq!((digest(at("2026-11-21 05:59")), next_digest(at("2026-11-21 05:59"))), (at("2026-11-20 06:00"), at("2026-11-21 06:00")));
    assert_eq!((digest(at("2026-11-21 06:00")), next_digest(at("2026-11-21 06:00"))), (at("2026-11-21 06:00"), at("2026-11-22 06:00")));
}

#[test]
fn a_key_of_90_days_is_told_of_five_times() {
    // 14 days before 19 Feb 10:00 is 5 Feb 10:00: the digest of 5 Feb 06:00 takes it in. 7 days: 12 Feb. 1 day: 18 Feb.
    // The first digest after the expiry is that of 20 Feb. The grace ends on 5 Mar 10:00, two days before is 3 Mar 10:00.
    let case = case("2026-11-21 10:00", "2027-02-19 10:00", &[14, 7, 1], 14);
    let expected = [
        ("5 Feb", Stage::Before(14)),
        ("12 Feb", Stage::Before(7)),
        ("18 Feb", Stage::Before(1)),
        ("20 Feb", Stage::Expired),
        ("3 Mar", Stage::GraceEnds),
    ];
    assert_eq!(case.digests("2026-11-22 06:00", "2027-06-30 06:00"), said(&expected));
}

#[test]
fn what_crosses_with_a_digest_belongs_to_it_and_what_crosses_with_the_next_to_that() {
    // 7 days before 28 Nov 06:00 is 21 Nov 06:00 to the minute.
    let case = case("2026-10-01 06:00", "2026-11-28 06:00", &[7], 0);
    assert_eq!(case.due(None, at("2026-11-20 06:00")), None);
    assert_eq!(case.due(None, at("2026-11-21 06:00")), Some(Stage::Before(7)));
    // One minute earlier it crosses on 21 Nov 05:59, which the digest of the day before takes in.
    let earlier = Case { life: Life { expires_at: Some(at("2026-11-28 05:59")), ..Life::default() }, ..case };
    assert_eq!(earlier.due(None, at("2026-11-19 06:00")), None);
    assert_eq!(earlier.due(None, at("2026-11-20 06:00")), Some(Stage::Before(7)));
}

#[test]
fn a_threshold_of_more_than_half_of_the_time_is_left_out() {
    // 20 days: 14 is more than half. 28 days: 14 is half.
    let short = case("2026-11-01 12:00", "2026-11-21 12:00", &[14, 7, 1], 0);
    assert_eq!(short.digests("2026-11-02 06:00", "2026-11-21 06:00"), said(&[("14 Nov", Stage::Before(7)), ("20 Nov", Stage::Before(1))]));
    let half = case("2026-11-01 12:00", "2026-11-29 12:00", &[14, 7, 1], 0);
    assert_eq!(half.digests("2026-11-02 06:00", "2026-11-15 06:00"), said(&[("15 Nov", Stage::Before(14))]));
    let under_half = case("2026-11-01 12:01", "2026-11-29 12:00", &[14, 7, 1], 0);
    assert_eq!(under_half.digests("2026-11-02 06:00", "2026-11-15 06:00"), said(&[]));
    // A key of a day and a half is told of by no threshold, but that it has expired.
    let tiny = case("2026-11-01 12:00", "2026-11-03 00:00", &[14, 7, 1], 0);
    assert_eq!(tiny.digests("2026-11-02 06:00", "2026-11-30 06:00"), said(&[("3 Nov", Stage::Expired)]));
}

#[test]
fn of_several_only_the_nearest_leaves() {
    let case = case("2026-01-01 00:00", "2026-11-28 12:00", &[14, 7, 1], 14);
    // After days without a digest, 14 and 7 have both been crossed.
    assert_eq!(case.due(None, at("2026-11-24 06:00")), Some(Stage::Before(7)));
    assert_eq!(case.due(Some(Stage::Before(14)), at("2026-11-24 06:00")), Some(Stage::Before(7)));
    assert_eq!(case.due(Some(Stage::Before(7)), at("2026-11-24 06:00")), None);
}

#[test]
fn a_new_threshold_that_was_crossed_leaves_once_and_an_old_one_does_not_come_back() {
    let case = |thresholds: &[u32]| case("2026-01-01 00:00", "2026-12-11 12:00", thresholds, 14);
    // 20 days are left on 21 Nov.
    assert_eq!(case(&[14]).due(None, at("2026-11-21 06:00")), None);
    assert_eq!(case(&[30, 14]).due(None, at("2026-11-21 06:00")), Some(Stage::Before(30)));
    // 30 is crossed, but the people were told at 14 already.
    assert_eq!(case(&[30]).due(Some(Stage::Before(14)), at("2026-12-01 06:00")), None);
}

#[test]
fn the_expired_stage_waits_for_the_first_digest_after_the_expiry() {
    let case = case("2026-01-01 00:00", "2026-11-21 12:00", &[], 14);
    assert_eq!(case.due(None, at("2026-11-21 06:00")), None);
    assert_eq!(case.due(None, at("2026-11-22 06:00")), Some(Stage::Expired));
    assert_eq!(case.due(Some(Stage::Expired), at("2026-11-23 06:00")), None);
}

#[test]
fn two_days_before_the_end_of_a_grace_of_three_days_or_more() {
    let ends = |grace_days| case("2026-01-01 00:00", "2026-11-21 12:00", &[], grace_days).digests("2026-11-20 06:00", "2027-04-30 06:00");
    assert_eq!(ends(0), said(&[("22 Nov", Stage::Expired)]));
    assert_eq!(ends(2), said(&[("22 Nov", Stage::Expired)]));
    // Until 24 Nov 12:00; two days before is 22 Nov 12:00, which the first digest after the expiry takes in: one notice for both.
    assert_eq!(ends(3), said(&[("22 Nov", Stage::GraceEnds)]));
    assert_eq!(ends(4), said(&[("22 Nov", Stage::Expired), ("23 Nov", Stage::GraceEnds)]));
    assert_eq!(ends(90), said(&[("22 Nov", Stage::Expired), ("17 Feb", Stage::GraceEnds)]));
}

#[test]
fn after_down_time_nothing_is_lost_and_nothing_is_told_twice() {
    let case = case("2026-01-01 00:00", "2026-11-21 12:00", &[14, 7, 1], 14);
    // Back after the end of the grace (5 Dec 12:00): it has expired, and that is said late.
    assert_eq!(case.due(Some(Stage::Before(7)), at("2026-12-20 08:00")), Some(Stage::Expired));
    assert_eq!(case.due(Some(Stage::GraceEnds), at("2026-12-20 08:00")), None);
    // More than 90 days later nobody is told any more.
    assert_eq!(case.due(None, at("2027-02-19 11:59")), Some(Stage::Expired));
    assert_eq!(case.due(None, at("2027-02-19 12:00")), None);
}

#[test]
fn keys_that_end_for_another_reason_have_no_notice() {
    let now = at("2026-11-21 06:00");
    let with = |life: Life| Case {
        life: Life { expires_at: Some(at("2026-11-25 12:00")), ..life },
        ..case("2026-01-01 00:00", "2026-11-25 12:00", &[7], 14)
    };
    assert_eq!(with(Life::default()).due(None, now), Some(Stage::Before(7)));
    assert_eq!(with(Life { revoked_at: Some(now), ..Life::default() }).due(None, now), None);
    assert_eq!(with(Life { disabled_at: Some(now), ..Life::default() }).due(None, now), None);
    let never = Case { life: Life::default(), ..with(Life::default()) };
    assert_eq!(never.due(None, now), None);
    // One that came with its expiry behind it.
    let imported = case("2026-11-20 12:00", "2026-11-19 12:00", &[7], 14);
    assert_eq!(imported.due(None, now), None);
}

#[test]
fn a_notice_whose_cause_has_gone_is_dropped() {
    let (of, now) = (at("2026-11-25 12:00"), at("2026-11-21 06:00"));
    let life = Life { expires_at: Some(of), ..Life::default() };
    assert!(still_true(Stage::Before(7), of, &life, &grace(14), now));
    assert!(!still_true(Stage::Before(7), of, &Life { expires_at: Some(of + days(1)), ..life }, &grace(14), now), "renewed");
    assert!(!still_true(Stage::Before(7), of, &Life { disabled_at: Some(now), ..life }, &grace(14), now), "disabled");
    assert!(!still_true(Stage::Before(7), of, &Life { revoked_at: Some(now), ..life }, &grace(14), now), "revoked");
    assert!(!still_true(Stage::Before(1), of, &life, &grace(14), of), "expired meanwhile");
    assert!(still_true(Stage::Expired, of, &life, &grace(14), of + days(20)));
    assert!(still_true(Stage::GraceEnds, of, &life, &grace(14), at("2026-12-09 11:59")));
    assert!(!still_true(Stage::GraceEnds, of, &life, &grace(14), at("2026-12-09 12:00")), "the grace is over");
}

#[test]
fn a_link_extends_by_14_days_from_the_later_of_now_and_the_expiry() {
    let end = at("2026-12-03 12:00");
    assert_eq!(extended(end, at("2026-11-21 10:00")), at("2026-12-17 12:00"));
    assert_eq!(extended(end, at("2026-12-10 08:30")), at("2026-12-24 08:30"));
    assert_eq!(extended(at("9999-12-31 23:00"), at("2026-12-10 08:30")), DateTime::from_timestamp(253_402_300_799, 0).unwrap());
}

#[test]
fn the_token_of_a_link_is_the_same_each_time_and_another_for_another_row() {
    let of = |row, facts: &[&[u8]]| Token::of_row(Purpose::Extend, &[7; 32].into(), row, facts);
    let token = of(12_345, &[b"a", b"b"]);
    assert_eq!(token.reveal(), of(12_345, &[b"a", b"b"]).reveal());
    assert_eq!(Token::parse(Purpose::Extend, token.reveal()).unwrap().row(), Some(12_345));
    assert!(token.is(&of(12_345, &[b"a", b"b"])));
    for other in [
        of(12_346, &[b"a", b"b"]),
        of(12_345, &[b"ab", b""]),
        of(12_345, &[b"a", b"c"]),
        Token::of_row(Purpose::Extend, &[8; 32].into(), 12_345, &[b"a", b"b"]),
    ] {
        assert!(!token.is(&other));
        assert_ne!(token.reveal_secret(), other.reveal_secret());
    }
    assert_eq!(of(i64::MAX, &[]).row(), Some(i64::MAX));
    assert!(Token::parse(Purpose::Reset, &token.reveal().replacen("kwx_", "kwr_", 1)).is_none(), "the checksum covers the purpose");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Day by day, with days left out as when the process is down: each stage at most once and in order, thresholds before the
    /// expiry and no more than a day before they are crossed, and with every digest at work none is missing.
    #[test]
    fn digests_tell_of_each_stage_once_and_in_order(
        lifetime_hours in 1i64..6000, start_minutes in 0i64..1440,
        thresholds in prop::collection::btree_set(1u32..=180, 0..=5), grace_days in 0u32..=90,
        up in prop::collection::vec(prop::bool::weighted(0.8), 400), always in prop::bool::ANY,
    ) {
        let set_at = at("2026-01-01 00:00") + Duration::minutes(start_minutes);
        let expires_at = set_at + Duration::hours(lifetime_hours);
        let thresholds: Vec<u32> = thresholds.into_iter().collect();
        let case = Case { life: Life { expires_at: Some(expires_at), ..Life::default() }, set_at, thresholds: thresholds.clone(), grace: grace(grace_days) };
        let works_until = expires_at + days(grace_days.into());
        let (mut told, mut all) = (None, Vec::new());
        for (n, up) in up.iter().enumerate() {
            let now = next_digest(set_at) + days(n as i64);
            if !up && !always {
                continue;
            }
            let Some(stage) = case.due(told, now) else { continue };
            prop_assert!(told.is_none_or(|told| told < stage));
            prop_assert_eq!(case.due(Some(stage), now), None, "a second sweep of the same digest has nothing");
            match stage {
                Stage::Before(count) => {
                    prop_assert!(now < expires_at);
                    prop_assert!(2 * i64::from(count) * 24 <= lifetime_hours);
                    prop_assert!(expires_at - days(count.into()) < now + days(1));
                    prop_assert!(thresholds.contains(&count));
                }
                Stage::Expired => prop_assert!(now >= expires_at && now < expires_at + days(90)),
                Stage::GraceEnds => prop_assert!(grace_days >= 3 && now >= expires_at && now < works_until && works_until - days(2) < now + days(1)),
            }
            prop_assert!(still_true(stage, expires_at, &case.life, &case.grace, now));
            told = Some(stage);
            all.push(stage);
        }
        if always {
            let fitting: Vec<Stage> = thresholds.iter().rev().filter(|count| 2 * 24 * i64::from(**count) <= lifetime_hours).map(|count| Stage::Before(*count)).collect();
            let before: Vec<Stage> = all.iter().copied().filter(|stage| matches!(stage, Stage::Before(_))).collect();
            prop_assert_eq!(before, fitting);
            let ended = all.iter().filter(|stage| **stage > Stage::Before(1)).count();
            prop_assert_eq!(ended, if grace_days > 3 { 2 } else { 1 + usize::from(grace_days == 3 && all.contains(&Stage::Expired) && all.contains(&Stage::GraceEnds)) });
        }
    }
}
