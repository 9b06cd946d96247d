//! When the old secret stops. Every date below was worked out by hand from the rule: the earliest of now + the longest overlap,
//! the old secret's own expiry + grace, and the end of the key's own grace.

use chrono::{DateTime, Duration, Utc};
use keyward::domain::{
    access::{KeyAccess, ResourceSet},
    ids::{KeyId, MemberId, TenantId},
    ip_range::IpRanges,
    key::{Key, Life, OldSecret, SecretFacts, Use},
    lifetime::{Choice, Lifetime},
    roll::{Bound, BoundReason, Outcome, Request, RollError, Stays, Stop, roll},
    tenant::{GraceHistory, Keep, KeepRule, Settings},
    time::Time,
};

fn at(text: &str) -> Time {
    DateTime::parse_from_rfc3339(&format!("{}:00Z", text.replace(' ', "T"))).unwrap().with_timezone(&Utc)
}

/// The moment of the roll in all of these tests.
fn now() -> Time {
    at("2026-11-21 12:00")
}

pub fn key(expires_at: Option<Time>) -> Key {
    let made = at("2026-01-01 00:00");
    Key {
        id: KeyId::parse("0123456789abcdef").unwrap(),
        tenant: TenantId::from_row(1),
        seq: 1,
        owner: MemberId(1),
        name: "ci".parse().unwrap(),
        comment: String::new(),
        access: KeyAccess::Owner,
        resources: ResourceSet::All,
        ip_ranges: IpRanges::default(),
        notice_recipients: vec![],
        created_at: made,
        changed_at: made,
        life: Life { expires_at, ..Life::default() },
        lifetime: expires_at.map(|_| Lifetime::Months(3)),
        expiry_set_at: made,
        extensions: 0,
        current: secret(made),
        old: None,
        disabled_by: None,
        revoked_by: None,
        disable_reason: String::new(),
        revoke_reason: String::new(),
        last_used: None,
        version: 1,
    }
}

fn secret(made_at: Time) -> SecretFacts {
    SecretFacts { made_at, made_by: "Ada".into(), last_used: None }
}

struct Case {
    key: Key,
    overlap: u32,
    grace: u32,
    rule: KeepRule,
}

/// A key with this expiry in a tenant with this longest overlap and this grace, in days.
fn case(expires_at: Option<&str>, overlap: u32, grace: u32) -> Case {
    Case { key: key(expires_at.map(at)), overlap, grace, rule: KeepRule::InUse }
}

impl Case {
    /// K0 was replaced by K1 then, and stops at `stops_at`.
    fn in_overlap(mut self, replaced_at: &str, own_expiry: Option<&str>, stops_at: &str) -> Self {
        self.key.old = Some(OldSecret {
            secret: self.key.current.clone(),
            replaced_at: at(replaced_at),
            own_expiry: own_expiry.map(at),
            stops_at: at(stops_at),
        });
        self.key.current = secret(at(replaced_at));
        self
    }

    fn latest_used(mut self) -> Self {
        self.key.current.last_used = Some(Use { at: now() - Duration::minutes(1), ip: None });
        self
    }

    fn rule(mut self, rule: KeepRule) -> Self {
        self.rule = rule;
        self
    }

    fn rolls(&self, request: Request) -> Result<Outcome, RollError> {
        let settings = Settings { overlap_days: self.overlap, grace_days: self.grace, rolling_again_keeps: self.rule, ..Settings::default() };
        let grace = GraceHistory::new(vec![(at("2026-01-01 00:00"), self.grace)]);
        roll(&self.key, &request, &settings, &grace, now())
    }

    fn stays(&self, stop: Stop) -> Result<Stays, RollError> {
        self.rolls(Request { stop, expiry: None, keep: None }).map(|outcome| outcome.stays)
    }

    fn stays_with(&self, stop: Stop, expiry: Choice) -> Result<Stays, RollError> {
        self.rolls(Request { stop, expiry: Some(expiry), keep: None }).map(|outcome| outcome.stays)
    }

    fn keeps(&self, stop: Stop, keep: Option<Keep>) -> Result<Stays, RollError> {
        self.rolls(Request { stop, expiry: None, keep }).map(|outcome| outcome.stays)
    }
}

fn current(until: &str) -> Result<Stays, RollError> {
    Ok(Stays::Current(at(until)))
}

fn old(until: &str) -> Result<Stays, RollError> {
    Ok(Stays::Old(at(until)))
}

fn too_late(until: &str, why: BoundReason) -> Result<Stays, RollError> {
    Err(RollError::StopTooLate(Bound { at: at(until), why }))
}

const NONE: Result<Stays, RollError> = Ok(Stays::None);

#[test]
fn without_an_expiry_only_the_longest_overlap_bounds() {
    let case = case(None, 14, 14);
    assert_eq!(case.stays(Stop::Longest), current("2026-12-05 12:00"));
    assert_eq!(case.stays(Stop::After(3_600)), current("2026-11-21 13:00"));
    assert_eq!(case.stays(Stop::At(at("2026-12-05 12:00"))), current("2026-12-05 12:00"));
    assert_eq!(case.stays(Stop::At(at("2026-12-05 12:01"))), too_late("2026-12-05 12:00", BoundReason::LongestOverlap));
    assert_eq!(case.stays(Stop::At(at("2026-11-21 11:59"))), Err(RollError::StopPast));
    assert_eq!(case.stays(Stop::Now), NONE);
    assert_eq!(case.stays(Stop::Compromised), NONE);
}

#[test]
fn before_the_expiry_its_grace_bounds_where_it_ends_before_the_overlap() {
    // Expires in two days; with 3 days of grace both secrets end on 26 Nov, before the 14 days of overlap.
    let short = case(Some("2026-11-23 12:00"), 14, 3);
    assert_eq!(short.stays(Stop::Longest), current("2026-11-26 12:00"));
    assert_eq!(short.stays(Stop::After(7 * 86_400)), too_late("2026-11-26 12:00", BoundReason::OwnExpiry));
    // The overlap is shorter than expiry and grace.
    assert_eq!(case(Some("2026-11-23 12:00"), 1, 14).stays(Stop::Longest), current("2026-11-22 12:00"));
    // Far from the expiry neither matters.
    assert_eq!(case(Some("2027-11-21 12:00"), 14, 14).stays(Stop::Longest), current("2026-12-05 12:00"));
}

#[test]
fn a_new_expiry_does_not_carry_the_old_secret_past_its_own() {
    // The key lives on for a year, the old secret keeps its expiry of 23 Nov and 3 days of grace.
    assert_eq!(case(Some("2026-11-23 12:00"), 14, 3).stays_with(Stop::Longest, Choice::For(Lifetime::Months(12))), current("2026-11-26 12:00"));
    assert_eq!(case(Some("2026-11-23 12:00"), 14, 3).stays_with(Stop::Longest, Choice::Never), current("2026-11-26 12:00"));
}

#[test]
fn a_nearer_expiry_bounds_the_old_secret_by_the_grace_of_the_key() {
    // The new expiry is 24 Nov; with 1 day of grace the key ends on 25 Nov, and no secret of it works longer.
    let case = case(Some("2027-06-01 00:00"), 14, 1);
    assert_eq!(case.stays_with(Stop::Longest, Choice::For(Lifetime::Days(3))), current("2026-11-25 12:00"));
    let over = case.stays_with(Stop::At(at("2026-11-25 12:01")), Choice::For(Lifetime::Days(3)));
    assert_eq!(over, too_late("2026-11-25 12:00", BoundReason::KeyGrace));
}

#[test]
fn in_grace_the_expiry_cannot_be_kept_and_the_old_secret_ends_with_its_grace() {
    // Expired on 19 Nov; 14 days of grace end on 3 Dec, 12 days from now.
    let case14 = case(Some("2026-11-19 12:00"), 14, 14);
    assert_eq!(case14.stays(Stop::Longest), Err(RollError::Expired));
    assert_eq!(case14.stays_with(Stop::Longest, Choice::For(Lifetime::Months(3))), current("2026-12-03 12:00"));
    assert_eq!(case14.stays_with(Stop::After(13 * 86_400), Choice::Never), too_late("2026-12-03 12:00", BoundReason::OwnExpiry));
    // A shorter overlap ends before the grace.
    assert_eq!(case(Some("2026-11-19 12:00"), 7, 14).stays_with(Stop::Longest, Choice::Never), current("2026-11-28 12:00"));
}

#[test]
fn after_the_grace_the_old_secret_has_stopped_and_stays_so() {
    let case = case(Some("2026-11-01 12:00"), 14, 14);
    assert_eq!(case.stays_with(Stop::Longest, Choice::Never), NONE);
    assert_eq!(case.stays_with(Stop::Now, Choice::Never), NONE);
    assert_eq!(case.stays_with(Stop::After(3_600), Choice::Never), Err(RollError::NoOverlap(BoundReason::OwnExpiry)));
}

#[test]
fn a_grace_of_zero_ends_every_secret_with_the_expiry() {
    assert_eq!(case(Some("2026-11-23 12:00"), 14, 0).stays(Stop::Longest), current("2026-11-23 12:00"));
    assert_eq!(case(Some("2026-11-20 12:00"), 14, 0).stays_with(Stop::Longest, Choice::Never), NONE);
}

#[test]
fn a_longest_overlap_of_zero_stops_the_old_secret_at_once() {
    for expires_at in [None, Some("2026-11-23 12:00"), Some("2027-11-23 12:00")] {
        let case = case(expires_at, 0, 14);
        assert_eq!(case.stays(Stop::Longest), NONE);
        assert_eq!(case.stays(Stop::Now), NONE);
        assert_eq!(case.stays(Stop::After(3_600)), Err(RollError::NoOverlap(BoundReason::LongestOverlap)));
    }
}

#[test]
fn an_overlap_of_90_days_outlives_a_grace_of_14_only_without_an_expiry() {
    assert_eq!(case(None, 90, 14).stays(Stop::Longest), current("2027-02-19 12:00"));
    assert_eq!(case(Some("2026-12-01 00:00"), 90, 14).stays(Stop::Longest), current("2026-12-15 00:00"));
    assert_eq!(case(Some("2026-12-01 00:00"), 14, 90).stays(Stop::Longest), current("2026-12-05 12:00"));
}

#[test]
fn a_revoked_key_is_not_rolled_and_a_disabled_one_is() {
    let mut revoked = case(None, 14, 14);
    revoked.key.life.revoked_at = Some(at("2026-11-20 00:00"));
    assert_eq!(revoked.stays(Stop::Longest), Err(RollError::Revoked));
    let mut disabled = case(None, 14, 14);
    disabled.key.life.disabled_at = Some(at("2026-11-20 00:00"));
    assert_eq!(disabled.stays(Stop::Longest), current("2026-12-05 12:00"));
}

#[test]
fn rolling_again_with_original_undoes_the_earlier_roll_within_twice_the_longest_overlap() {
    // K0 was replaced on 15 Nov with 7 days: it would stop on 22 Nov. Twice 7 days since then end on 29 Nov; now + 7 days are 28 Nov.
    let case = case(None, 7, 14).in_overlap("2026-11-15 12:00", None, "2026-11-22 12:00");
    assert_eq!(case.keeps(Stop::Longest, Some(Keep::Original)), old("2026-11-28 12:00"));
    assert_eq!(case.keeps(Stop::After(3_600), Some(Keep::Original)), old("2026-11-21 13:00"));
    assert_eq!(case.keeps(Stop::Now, Some(Keep::Original)), NONE);
    assert_eq!(case.keeps(Stop::Compromised, Some(Keep::Original)), NONE);
}

#[test]
fn twice_the_longest_overlap_since_the_first_replacement_is_the_end_of_the_original() {
    // Replaced on 10 Nov with 7 days, kept as original on 16 Nov until 23 Nov; 24 Nov is 14 days after the first replacement.
    let case = case(None, 7, 14).in_overlap("2026-11-10 12:00", None, "2026-11-23 12:00");
    assert_eq!(case.keeps(Stop::Longest, Some(Keep::Original)), old("2026-11-24 12:00"));
    assert_eq!(case.keeps(Stop::After(4 * 86_400), Some(Keep::Original)), too_late("2026-11-24 12:00", BoundReason::TwiceLongest));
}

#[test]
fn the_original_is_bound_by_its_own_expiry_and_grace() {
    // K0's own expiry was 20 Nov; 3 days of grace end on 23 Nov although the key itself has none now.
    let case = case(None, 14, 3).in_overlap("2026-11-18 12:00", Some("2026-11-20 12:00"), "2026-11-23 12:00");
    assert_eq!(case.keeps(Stop::Longest, Some(Keep::Original)), old("2026-11-23 12:00"));
    assert_eq!(case.keeps(Stop::After(3 * 86_400), Some(Keep::Original)), too_late("2026-11-23 12:00", BoundReason::OwnExpiry));
}

#[test]
fn rolling_again_with_latest_gives_the_overlap_to_the_current_secret() {
    let case = case(Some("2026-11-25 12:00"), 7, 2).in_overlap("2026-11-20 12:00", Some("2026-11-21 12:00"), "2026-11-23 12:00");
    // 25 Nov + 2 days of grace, before now + 7 days.
    assert_eq!(case.keeps(Stop::Longest, Some(Keep::Latest)), current("2026-11-27 12:00"));
}

#[test]
fn rolling_again_with_none_stops_both() {
    let case = case(None, 7, 14).in_overlap("2026-11-15 12:00", None, "2026-11-22 12:00");
    assert_eq!(case.keeps(Stop::Longest, Some(Keep::None)), NONE);
}

#[test]
fn the_secret_in_use_is_the_original_until_the_latest_was_used() {
    let case = || case(None, 7, 14).in_overlap("2026-11-20 12:00", None, "2026-11-27 12:00");
    assert_eq!(case().keeps(Stop::Longest, None), old("2026-11-28 12:00"));
    assert_eq!(case().latest_used().keeps(Stop::Longest, None), current("2026-11-28 12:00"));
}

#[test]
fn the_tenants_rule_decides_where_nobody_chose() {
    let case = || case(None, 7, 14).in_overlap("2026-11-20 12:00", None, "2026-11-27 12:00");
    assert_eq!(case().rule(KeepRule::Original).latest_used().keeps(Stop::Longest, None), old("2026-11-28 12:00"));
    assert_eq!(case().rule(KeepRule::Latest).keeps(Stop::Longest, None), current("2026-11-28 12:00"));
    assert_eq!(case().rule(KeepRule::None).keeps(Stop::Longest, None), NONE);
    assert_eq!(case().rule(KeepRule::None).keeps(Stop::Longest, Some(Keep::Original)), old("2026-11-28 12:00"));
}

#[test]
fn keep_without_a_running_overlap_is_ignored() {
    let ended = case(None, 7, 14).in_overlap("2026-11-01 12:00", None, "2026-11-08 12:00");
    for keep in [Keep::Original, Keep::Latest, Keep::None] {
        assert_eq!(case(None, 7, 14).keeps(Stop::Longest, Some(keep)), current("2026-11-28 12:00"));
        assert_eq!(ended.keeps(Stop::Longest, Some(keep)), current("2026-11-28 12:00"));
    }
}

#[test]
fn a_secret_that_stopped_with_its_key_is_not_brought_back_as_the_original() {
    // The overlap would run until 25 Nov, but the key expired on 20 Nov without grace: both secrets stopped then.
    let case = case(Some("2026-11-20 12:00"), 14, 0).in_overlap("2026-11-18 12:00", None, "2026-11-25 12:00");
    let request = Request { stop: Stop::Longest, expiry: Some(Choice::Never), keep: Some(Keep::Original) };
    assert_eq!(case.rolls(request).map(|outcome| outcome.stays), NONE);
}
