//! What holds for every key, whatever happens to it: random states, and random lives of a key step by step.

use std::collections::BTreeSet;

use chrono::Duration;
use keyward::domain::{
    access::{KeyAccess, ResourceSet, effective_scopes},
    change::{self, Policy, Refused},
    ids::{AccessRoleId, MemberId},
    ip_range::IpRanges,
    key::{Actor, Key, Life, Status, Use},
    lifetime::{Choice, Lifetime},
    names::{Resource, ResourcePattern, Scope, Scopes},
    roll::{self, Stays, Stop},
    tenant::{GraceHistory, Keep, KeepRule, Settings},
    time::{Time, days},
    verdict::{Code, GraceReason, KeyFacts, Outcome, Presented, RULES, Request, TenantFacts, decide, rule},
};
use proptest::prelude::*;

fn start() -> Time {
    chrono::DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

/// A moment within 40 days of the start, often one that others have, too, so that ties are met.
fn moment() -> impl Strategy<Value = Time> {
    prop_oneof![(-40i64..40).prop_map(|day| start() + days(day)), (-3_456_000i64..3_456_000).prop_map(|s| start() + Duration::seconds(s))]
}

fn scope_names() -> impl Strategy<Value = Scopes> {
    let name = prop::sample::select(vec!["a:read", "a:write", "b:read", "b:write", "c", "keyward:keys.read", "keyward:keys.roll"]);
    prop::collection::btree_set(name.prop_map(|name| name.parse::<Scope>().unwrap()), 0..5)
}

fn resource() -> impl Strategy<Value = Resource> {
    (prop::sample::select(vec!["site", "data"]), prop::sample::select(vec!["x", "y", "z"]))
        .prop_map(|(kind, name)| format!("{kind}:{name}").parse().unwrap())
}

fn resources() -> impl Strategy<Value = ResourceSet> {
    let pattern = prop_oneof![
        resource().prop_map(ResourcePattern::One),
        prop::sample::select(vec!["site", "data"]).prop_map(|kind| ResourcePattern::Kind(kind.into()))
    ];
    prop_oneof![Just(ResourceSet::All), prop::collection::btree_set(pattern, 0..4).prop_map(ResourceSet::Chosen)]
}

fn access() -> impl Strategy<Value = KeyAccess> {
    prop_oneof![Just(KeyAccess::Owner), Just(KeyAccess::Role(AccessRoleId(1))), scope_names().prop_map(KeyAccess::Scopes)]
}

/// All that a verdict depends on.
#[derive(Debug, Clone)]
struct State {
    tenant: TenantFacts,
    life: Life,
    old_stops_at: Option<Time>,
    owner_active: bool,
    ip_ranges: IpRanges,
    scopes: Scopes,
    resources: ResourceSet,
    presented: Presented,
    asked_scopes: Vec<Scope>,
    asked_resource: Option<Resource>,
    ip: Option<std::net::IpAddr>,
    now: Time,
}

fn state() -> impl Strategy<Value = State> {
    let tenant = (prop::bool::weighted(0.9), prop::bool::weighted(0.1), prop::collection::vec((moment(), 0u32..20), 1..4))
        .prop_map(|(keys_enabled, suspended, grace)| TenantFacts { keys_enabled, suspended, grace: GraceHistory::new(grace) });
    let life = (prop::option::of(moment()), prop::option::weighted(0.2, moment()), prop::option::weighted(0.2, moment()))
        .prop_map(|(expires_at, disabled_at, revoked_at)| Life { expires_at, disabled_at, revoked_at });
    let ranges = prop::sample::select(vec!["", "10.0.0.0/8", "10.0.0.0/8 2001:db8::/32"]).prop_map(|text| IpRanges::parse(text).unwrap());
    let ip =
        prop::sample::select(vec![None, Some("10.1.2.3"), Some("192.0.2.1"), Some("2001:db8::1")]).prop_map(|ip| ip.map(|ip| ip.parse().unwrap()));
    let presented = prop::sample::select(vec![Presented::Current, Presented::Current, Presented::Old, Presented::Dead]);
    let asked =
        (prop::collection::vec(prop::sample::select(vec!["a:read", "b:read"]).prop_map(|s| s.parse().unwrap()), 0..2), prop::option::of(resource()));
    (tenant, life, prop::option::of(moment()), prop::bool::weighted(0.9), ranges, scope_names(), resources(), (presented, asked, ip, moment()))
        .prop_map(|(tenant, life, old_stops_at, owner_active, ip_ranges, scopes, resources, (presented, (asked_scopes, asked_resource), ip, now))| {
            State { tenant, life, old_stops_at, owner_active, ip_ranges, scopes, resources, presented, asked_scopes, asked_resource, ip, now }
        })
}

impl State {
    fn facts(&self) -> KeyFacts<'_> {
        KeyFacts {
            life: self.life,
            old_stops_at: self.old_stops_at,
            owner_active: self.owner_active,
            ip_ranges: &self.ip_ranges,
            scopes: &self.scopes,
            resources: &self.resources,
        }
    }

    fn request(&self) -> Request<'_> {
        Request { scopes: &self.asked_scopes, resource: self.asked_resource.as_ref(), ip: self.ip }
    }

    fn rule(&self, code: Code) -> Outcome {
        rule(code, &self.tenant, &self.facts(), self.presented, &self.request(), self.now)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_status_the_rules_and_the_verdict_agree(state in state()) {
        let verdict = decide(&state.tenant, &state.facts(), state.presented, &state.request(), state.now);
        let outcomes: Vec<_> = RULES.iter().map(|code| (*code, state.rule(*code))).collect();

        // Explain lists the rules; the verdict is named after the first that failed.
        match outcomes.iter().find(|(_, outcome)| *outcome == Outcome::Failed) {
            Some((code, _)) => {
                prop_assert_eq!(verdict.code, *code);
                prop_assert_eq!(verdict.grace, None);
                prop_assert!(!verdict.code.is_accepted());
            }
            None => {
                let ends: Vec<_> = outcomes.iter().filter_map(|(code, outcome)| match outcome {
                    Outcome::PassedByGrace(until) => Some((*until, *code)),
                    _ => None,
                }).collect();
                prop_assert!(verdict.code.is_accepted());
                prop_assert_eq!(verdict.code == Code::Valid, ends.is_empty());
                let first = ends.iter().map(|(until, _)| *until).min();
                prop_assert_eq!(verdict.grace.map(|grace| grace.until), first);
                prop_assert!(first.is_none_or(|until| until > state.now), "a grace that is over lets nothing through");
                if let Some(grace) = verdict.grace {
                    // At a tie it is the expiry.
                    let expiry_first = ends.iter().any(|(until, code)| *code == Code::Expired && Some(*until) == first);
                    prop_assert_eq!(grace.reason, if expiry_first { GraceReason::Expired } else { GraceReason::Rolled });
                }
            }
        }

        // The word in the grid says the same as the rules.
        let status = state.life.status(state.now);
        prop_assert_eq!(status == Status::Revoked, state.rule(Code::Revoked) == Outcome::Failed);
        prop_assert_eq!(status == Status::Disabled, state.rule(Code::Revoked) == Outcome::Passed && state.rule(Code::Disabled) == Outcome::Failed);
        let has_expired = state.rule(Code::Expired) != Outcome::Passed;
        prop_assert_eq!(status == Status::Expired, has_expired && state.life.revoked_at.is_none() && state.life.disabled_at.is_none());
        prop_assert_eq!(state.life.is_past_grace(&state.tenant.grace, state.now), state.rule(Code::Expired) == Outcome::Failed);
        if verdict.code == Code::Valid {
            prop_assert_eq!(status, Status::Active);
        }
        if status == Status::Expired && verdict.code.is_accepted() {
            // "works until" in the grid is when it stops.
            let until = state.life.works_until(&state.tenant.grace, state.now).unwrap();
            prop_assert!(until > state.now);
            let after = decide(&state.tenant, &state.facts(), state.presented, &state.request(), until);
            prop_assert!(!after.code.is_accepted());
        }
    }

    #[test]
    fn no_key_has_more_than_its_owner(access in access(), role in scope_names(), owner in scope_names(), given in resources(), held in resources(), asked in resource()) {
        let role = matches!(access, KeyAccess::Role(_)).then_some(&role);
        let effective = effective_scopes(&access, role, &owner);
        for scope in &effective {
            // A reserved scope belongs to a key that was given it by name; a role or "same as mine" never brings one.
            let chosen = matches!(&access, KeyAccess::Scopes(scopes) if scopes.contains(scope));
            let may_have = if scope.is_reserved() { chosen } else { owner.contains(scope) };
            prop_assert!(may_have);
            prop_assert!(access == KeyAccess::Owner || chosen || role.is_some_and(|role| role.contains(scope)), "nor more than it was given");
        }
        let cut = given.cut_to(&held);
        prop_assert_eq!(cut.covers(&asked), given.covers(&asked) && held.covers(&asked));
    }
}

/// What may happen to a key or around it.
#[derive(Debug, Clone)]
pub enum Step {
    Wait(i64),
    Roll {
        stop: Stop,
        expiry: Option<Choice>,
        keep: Option<Keep>,
    },
    Use,
    Finish,
    Renew,
    Edit(Choice),
    /// By a link that was mailed for the expiry as it is, or for another.
    Extend(bool),
    Disable,
    Enable,
    Revoke,
    HandOver,
    SetGrace(u32),
    SetOverlap(u32),
    SetRule(KeepRule),
    SwitchKeys(bool),
    SuspendOwner(bool),
}

fn choice() -> impl Strategy<Value = Choice> {
    prop_oneof![Just(Choice::Never), (1u32..30).prop_map(|n| Choice::For(Lifetime::Days(n))), Just(Choice::For(Lifetime::Months(1)))]
}

pub fn step() -> impl Strategy<Value = Step> {
    let stop = prop_oneof![
        4 => Just(Stop::Longest),
        1 => Just(Stop::Now),
        1 => Just(Stop::Compromised),
        4 => (0i64..20 * 24).prop_map(|hours| Stop::After(hours * 3_600)),
    ];
    let keep = prop::option::of(prop::sample::select(vec![Keep::Original, Keep::Latest, Keep::None]));
    prop_oneof![
        12 => (1i64..240).prop_map(Step::Wait),
        12 => (stop, prop::option::of(choice()), keep).prop_map(|(stop, expiry, keep)| Step::Roll { stop, expiry, keep }),
        4 => Just(Step::Use),
        1 => Just(Step::Finish),
        3 => Just(Step::Renew),
        3 => choice().prop_map(Step::Edit),
        2 => prop::bool::weighted(0.9).prop_map(Step::Extend),
        1 => Just(Step::HandOver),
        1 => Just(Step::Disable),
        2 => Just(Step::Enable),
        1 => prop::bool::weighted(0.1).prop_map(|really| if really { Step::Revoke } else { Step::Use }),
        3 => (0u32..20).prop_map(Step::SetGrace),
        2 => (0u32..20).prop_map(Step::SetOverlap),
        1 => prop::sample::select(vec![KeepRule::InUse, KeepRule::Original, KeepRule::Latest, KeepRule::None]).prop_map(Step::SetRule),
        1 => any::<bool>().prop_map(Step::SwitchKeys),
        1 => any::<bool>().prop_map(Step::SuspendOwner),
    ]
}

/// A key that lives by the rules of the domain, with every secret it ever had.
pub struct World {
    pub key: Key,
    pub settings: Settings,
    pub grace: Vec<(Time, u32)>,
    pub owner_active: bool,
    pub now: Time,
    /// Numbers of the secrets: the current one is the last that was made.
    pub made: usize,
    pub old: Option<usize>,
    /// Who does everything, and who gets the key when it is handed over.
    pub person: Actor,
    pub heir: Actor,
    stopped: BTreeSet<usize>,
}

impl World {
    pub fn new(key: Key, settings: Settings, now: Time) -> Self {
        let grace = vec![(now - days(30), settings.grace_days)];
        let [person, heir] = [(1, "Ada"), (2, "Emil")].map(|(id, name)| Actor { member: Some(MemberId(id)), name: name.into() });
        Self { key, settings, grace, owner_active: true, now, made: 0, old: None, person, heir, stopped: BTreeSet::new() }
    }

    fn history(&self) -> GraceHistory {
        GraceHistory::new(self.grace.clone())
    }

    /// What a secret is answered.
    pub fn accepts(&self, secret: usize) -> Code {
        let tenant = TenantFacts { keys_enabled: self.settings.keys_enabled, suspended: false, grace: self.history() };
        let (ip_ranges, scopes) = (IpRanges::default(), Scopes::new());
        let facts = KeyFacts {
            life: self.key.life,
            old_stops_at: self.key.old.as_ref().map(|old| old.stops_at),
            owner_active: self.owner_active,
            ip_ranges: &ip_ranges,
            scopes: &scopes,
            resources: &ResourceSet::All,
        };
        let presented = match secret {
            secret if secret == self.made => Presented::Current,
            secret if Some(secret) == self.old => Presented::Old,
            _ => Presented::Dead,
        };
        decide(&tenant, &facts, presented, &Request::default(), self.now).code
    }

    /// Takes a step; returns whether the rules let it happen.
    pub fn take(&mut self, step: &Step) -> bool {
        let (now, grace, settings) = (self.now, self.history(), self.settings.clone());
        let policy = Policy { settings: &settings, grace: &grace, suspended: false };
        let before = self.key.clone();
        let after = match step {
            Step::Roll { stop, expiry, keep } => {
                let request = roll::Request { stop: *stop, expiry: *expiry, keep: *keep };
                change::roll(&before, &request, &policy, &self.person.name, now).map(|(key, stays)| {
                    self.old = match stays {
                        Stays::None => None,
                        Stays::Current(_) => Some(self.made),
                        Stays::Old(_) => self.old,
                    };
                    self.made += 1;
                    key
                })
            }
            Step::Finish => change::finish(&before, now).inspect(|_| self.old = None),
            Step::Renew => change::renew(&before, &policy, now),
            Step::Edit(choice) => change::edit_expiry(&before, *choice, &policy, now),
            Step::Extend(right) => {
                let of = before.life.expires_at.unwrap_or(now) + if *right { Duration::zero() } else { days(1) };
                change::extend(&before, of, self.owner_active, &policy, now).map_err(|_| Refused::NoExpiry)
            }
            Step::Disable => change::disable(&before, self.person.clone(), "", now),
            Step::Enable => change::enable(&before, &policy, now),
            Step::Revoke => change::revoke(&before, self.person.clone(), "", now),
            Step::HandOver => {
                let to = self.heir.member.unwrap();
                change::hand_over(&before, to, Scopes::new(), ResourceSet::All, now).inspect(|_| std::mem::swap(&mut self.person, &mut self.heir))
            }
            around => {
                match around {
                    Step::Wait(hours) => self.now += Duration::hours(*hours),
                    Step::Use if self.accepts(self.made).is_accepted() => self.key.current.last_used = Some(Use { at: now, ip: None }),
                    Step::SetGrace(days) => {
                        self.settings.grace_days = *days;
                        self.grace.push((now, *days));
                    }
                    Step::SetOverlap(days) => self.settings.overlap_days = *days,
                    Step::SetRule(rule) => self.settings.rolling_again_keeps = *rule,
                    Step::SwitchKeys(on) => self.settings.keys_enabled = *on,
                    Step::SuspendOwner(suspended) => self.owner_active = !suspended,
                    _ => {}
                }
                return true;
            }
        };
        after.map(|key| self.key = key).is_ok()
    }
}

proptest! {
    // 2 000 lives of 50 steps are 100 000 states.
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn a_key_keeps_its_promises_through_its_whole_life(steps in prop::collection::vec(step(), 50)) {
        let mut world = World::new(super::roll::key(None), Settings { keys_enabled: true, ..Settings::default() }, start());
        for step in &steps {
            let before = world.key.clone();
            let (was_revoked, made_before) = (before.life.revoked_at, world.made);
            if !world.take(step) {
                prop_assert_eq!(&world.key, &before, "what is refused changes nothing");
            }
            let codes: Vec<Code> = (0..=world.made).map(|secret| world.accepts(secret)).collect();

            prop_assert!(codes.iter().filter(|code| code.is_accepted()).count() <= 2, "at most two secrets of a key ever work");
            for (secret, code) in codes.iter().enumerate() {
                if matches!(code, Code::Rolled | Code::Expired) {
                    world.stopped.insert(secret);
                }
                prop_assert!(!(code.is_accepted() && world.stopped.contains(&secret)), "secret {} stopped and works again after {:?}", secret, step);
            }
            if was_revoked.is_some() {
                prop_assert_eq!(world.key.life.revoked_at, was_revoked, "nothing brings a revoked key back");
                prop_assert_eq!(world.made, made_before, "nor gives it a new secret");
            }
            if world.key.life.revoked_at.is_some() {
                prop_assert!(codes.iter().all(|code| !code.is_accepted()));
                prop_assert_eq!(world.key.life.status(world.now), Status::Revoked);
            }
            if let (Some(old), Some(earlier)) = (&world.key.old, &before.old)
                && world.made == made_before
            {
                prop_assert_eq!(old.stops_at, earlier.stops_at, "nothing but a roll moves the end of an overlap, after {:?}", step);
            }
            if let (Step::Disable | Step::Enable | Step::HandOver | Step::Finish, Some(old)) = (step, &world.key.old) {
                prop_assert!(Some(old) == before.old.as_ref() && world.key.life.expires_at == before.life.expires_at, "no clock stops or begins anew");
            }
            if let Some(old) = &world.key.old {
                let longest = days(i64::from(20u32)) * 2;
                prop_assert!(old.stops_at <= old.replaced_at + longest, "no overlap outlasts twice the longest");
            }
        }
    }
}
