//! The keys of the demo: some that tell a story, then as many made-up ones as were asked for, with events and 30 days of use.

use std::collections::BTreeSet;

use chrono::{Datelike as _, Duration, Timelike as _};

use super::{
    super::Failure,
    dice::Dice,
    history,
    people::{People, Place, SUSPENDED, left_at},
};
use crate::{
    app::App,
    chance,
    domain::{
        access::{KeyAccess, ResourceSet},
        ids::KeyId,
        ip_range::IpRanges,
        key::{Actor, Key, Life, OldSecret, SecretFacts, Use},
        lifetime::Lifetime,
        names::{KeyName, Scope},
        time::{Time, days},
        token::{Purpose, SecretHash, Token, fresh_id},
        verdict::{Code, KeyFacts, Presented, Request, decide},
    },
    secrets::Secrets,
    store::{
        StoreError, Tx, gateways,
        keys::{self, NewKey},
        members::{self, Owner},
        tenants,
        usage::{self, GatewayUse, HourCount},
    },
};

/// The only copies of three tokens.
pub struct Tokens {
    pub gateway: String,
    pub management: String,
    pub sample: String,
}

/// How many keys have events and use; more would take long and show nothing new.
const TOLD: u32 = 300;
/// How many keys are made before they are stored.
const BATCH: u32 = 20_000;

/// How a made-up key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Active,
    Soon,
    Overlap,
    Grace,
    Expired,
    Disabled,
    Revoked,
}

/// name, owner, fate, days until (or since) it matters, comment
type Story = (&'static str, &'static str, Fate, i64, &'static str);

const STORIES: [Story; 12] = [
    ("Warehouse sync – production", "Tomasz Wójcik", Fate::Overlap, 4, "Nightly stock levels and live reservations"),
    ("Legacy EDI bridge", "Tomasz Wójcik", Fate::Grace, 5, "Retire after the carrier cut-over"),
    ("Carrier webhooks", "Priya Raman", Fate::Soon, 3, "Inbound tracking events from all carriers"),
    ("Returns portal", "Amara Okafor", Fate::Soon, 7, "Customer-facing portal, deployed from the web team’s pipeline"),
    ("Status page probe", "Ines Ferreira", Fate::Active, 44, ""),
    ("Finance export", "Hugo Lefèvre", Fate::Active, 52, "Weekly ledger pull, runs Monday night"),
    ("Partner API – Norrland Frakt", "Ines Ferreira", Fate::Active, 60, "Contract MER-2291; rate limit agreed at 20 requests a second"),
    ("Deploy pipeline", "ci-runners", Fate::Overlap, 1, "Rolled every Friday by the pipeline itself"),
    ("Load test – staging", "Mei-Ling Chen", Fate::Disabled, 9, "Only while a load test runs"),
    ("Customs broker trial", "Daniel Osei", Fate::Active, 120, "Trial until the contract is signed"),
    ("Tariff importer", "data-platform", Fate::Expired, 40, "Replaced by the ledger stream"),
    ("Old mobile app", "Amara Okafor", Fate::Revoked, 21, "Token found in a public repository"),
];

const SYSTEMS: [&str; 20] = [
    "Stock levels",
    "Label printer",
    "Route planner",
    "Yard camera",
    "Dock scheduler",
    "Invoice matcher",
    "Quote calculator",
    "Track and trace",
    "Cold chain monitor",
    "Pallet counter",
    "Gate control",
    "Customs forms",
    "Partner portal",
    "Shift roster",
    "Fuel cards",
    "Damage reports",
    "Loyalty points",
    "Price list",
    "Till reports",
    "Return labels",
];
const PLACES: [&str; 8] = ["Rotterdam", "Gdańsk", "Poznań", "Hamburg", "production", "staging", "test", "reporting"];
const COMMENTS: [&str; 6] =
    ["", "", "Owned by the platform team", "Rotate with the quarterly release", "Ask the night shift before revoking", "Runs on the old cluster"];
const RANGES: [&str; 5] = ["", "", "10.20.0.0/16", "185.41.12.8/29", "198.51.100.0/24 2001:db8:40::/48"];

/// A key to be stored, with what its past says.
pub struct Draft {
    pub key: Key,
    hash: SecretHash,
    old_hash: Option<SecretHash>,
    token: Token,
    pub fate: Fate,
}

struct Maker<'a> {
    secrets: &'a Secrets,
    now: Time,
    dice: Dice,
}

/// Makes `count` keys, the gateway credentials, events and use.
pub fn make(app: &App, people: &People, count: u32) -> Result<Tokens, Failure> {
    let now = app.clock.now();
    let (Some(first), Some(second)) = (people.tenants.first(), people.tenants.get(1)) else { return Err("the demo has no tenants".into()) };
    let mut maker = Maker { secrets: &app.secrets, now, dice: Dice::new(2026) };
    let (mut told, mut sample) = (Vec::new(), String::new());
    for story in STORIES {
        let draft = maker.story(first, story)?;
        if sample.is_empty() {
            draft.token.reveal().clone_into(&mut sample);
        }
        told.push((first, story.1, draft));
    }
    let management = maker.management(first)?;
    let management_token = management.token.reveal().to_owned();
    told.push((first, "Ines Ferreira", management));
    while told.len() < count.min(TOLD) as usize {
        let place = if told.len() % 5 == 4 { second } else { first };
        let (owner, draft) = maker.any(place, told.len())?;
        told.push((place, owner, draft));
    }
    // "Newest first" is the order in which keys were stored.
    told.sort_by_key(|(_, _, draft)| draft.key.created_at);
    app.store.write(now, |tx| -> Result<(), Failure> {
        let owners = owners(tx, people)?;
        for (place, ..) in &told {
            debug_assert!(owners.iter().any(|(tenant, _)| *tenant == place.id));
        }
        insert(tx, &owners, told.iter().map(|(_, _, draft)| draft))?;
        history::write(tx, &told, people, now)?;
        write_use(tx, &told, people, &mut maker)?;
        Ok(())
    })?;
    let gateway = gateways(app, first, now)?;
    let made = u32::try_from(told.len()).unwrap_or(count);
    if made < count {
        app.store.bulk(now, |tx| -> Result<(), Failure> {
            let owners = owners(tx, people)?;
            for start in (made..count).step_by(BATCH as usize) {
                let end = count.min(start.saturating_add(BATCH));
                let drafts = (start..end).map(|number| maker.scanner(first, number, count)).collect::<Result<Vec<_>, _>>()?;
                insert(tx, &owners, drafts.iter())?;
            }
            Ok(())
        })?;
    }
    Ok(Tokens { gateway, management: management_token, sample })
}

type Owners = Vec<(crate::domain::ids::TenantId, Owner)>;

fn owners(tx: &mut Tx<'_>, people: &People) -> Result<Owners, StoreError> {
    let mut all = Vec::new();
    for place in &people.tenants {
        let ids: Vec<_> = place.members.values().copied().collect();
        all.extend(members::find_many(tx, place.id, &ids)?.into_iter().map(|owner| (place.id, owner)));
    }
    Ok(all)
}

fn insert<'a>(tx: &mut Tx<'_>, owners: &'a Owners, drafts: impl Iterator<Item = &'a Draft>) -> Result<(), StoreError> {
    let pepper = tx.secrets().pepper_version();
    let owner_of = |key: &Key| owners.iter().find(|(_, owner)| owner.id == key.owner).map(|(_, owner)| owner);
    let rows: Vec<_> = drafts
        .filter_map(|draft| {
            let owner = owner_of(&draft.key)?;
            Some(NewKey { key: &draft.key, owner, hash: draft.hash, old_hash: draft.old_hash, pepper })
        })
        .collect();
    keys::insert_many(tx, &rows)
}

impl Maker<'_> {
    fn token(&self, tenant: crate::domain::ids::TenantId, id: KeyId) -> Result<(Token, SecretHash), Failure> {
        let token = Token::make(Purpose::Key, id, &mut chance::fill);
        let hash =
            self.secrets.token_hash(self.secrets.pepper_version(), Purpose::Key, tenant, token.reveal()).ok_or("the secret file has no pepper")?;
        Ok((token, hash))
    }

    fn ago(&mut self, low: i64, high: i64) -> Time {
        self.now - Duration::minutes(self.dice.between(low * 1_440, high * 1_440))
    }

    fn draft(&mut self, place: &Place, owner: &str, name: &str, comment: &str, fate: Fate, number: i64) -> Result<Draft, Failure> {
        let owner_id = *place.members.get(owner).ok_or_else(|| format!("{owner} is no member of {}", place.slug))?;
        let id = fresh_id(&mut chance::fill);
        let (token, hash) = self.token(place.id, id)?;
        let now = self.now;
        // Whoever was suspended has made and called nothing since; what was stopped later, an admin stopped.
        let left = (owner == SUSPENDED).then(|| left_at(now));
        let minutes = Duration::minutes(self.dice.between(0, 1_300));
        let lifetime =
            *self.dice.pick(&[Some(Lifetime::Months(12)), Some(Lifetime::Months(12)), Some(Lifetime::Months(6)), Some(Lifetime::Months(3)), None]);
        let needs_expiry = matches!(fate, Fate::Soon | Fate::Grace | Fate::Expired) || place.slug == "harbour-vale";
        let lifetime = if needs_expiry { lifetime.or(Some(Lifetime::Months(12))) } else { lifetime };
        let expires_at = lifetime.map(|lifetime| match fate {
            Fate::Soon => now + days(number) + minutes / 3,
            Fate::Grace | Fate::Expired => now - days(number) - minutes / 3,
            // No further away than its lifetime.
            _ => now + days(number.clamp(20, i64::from(lifetime.counted_days()) - if left.is_some() { 20 } else { 5 })) + minutes,
        });
        let set_at = match (expires_at, lifetime) {
            (Some(at), Some(lifetime)) => at - days(lifetime.counted_days().into()),
            _ => now - days(self.dice.between(20, 500)) - minutes,
        };
        let set_at = set_at.min(now - days(1));
        let created_at = if self.dice.chance(25) { set_at - days(self.dice.between(30, 200)) } else { set_at };
        let (author, actor) = place.actor(owner);
        let author = author.to_owned();
        let mut key = Key {
            id,
            tenant: place.id,
            seq: 0,
            owner: owner_id,
            name: name.parse::<KeyName>()?,
            comment: comment.to_owned(),
            access: KeyAccess::Owner,
            resources: ResourceSet::All,
            ip_ranges: IpRanges::parse(self.dice.pick::<&str>(&RANGES))?,
            notice_recipients: Vec::new(),
            created_at,
            changed_at: set_at,
            life: Life { expires_at, ..Life::default() },
            lifetime,
            expiry_set_at: set_at,
            extensions: 0,
            current: SecretFacts { made_at: created_at, made_by: author.clone(), last_used: None },
            old: None,
            disabled_by: None,
            revoked_by: None,
            disable_reason: String::new(),
            revoke_reason: String::new(),
            last_used: None,
            version: 1,
        };
        let mut old_hash = None;
        let who = || Some(Actor { member: actor, name: author.clone() });
        match fate {
            Fate::Overlap => {
                let rolled_at = now - days(number.clamp(1, 10)) - minutes / 2;
                let rolled_at = rolled_at.max(created_at + Duration::hours(1));
                let stops_at = (rolled_at + days(14)).min(expires_at.map_or(now + days(30), |end| end + days(14)));
                let old_use = Use { at: now - Duration::minutes(self.dice.between(3, 400)), ip: Some(self.address(&key)) };
                key.old = Some(OldSecret {
                    secret: SecretFacts { made_at: created_at, made_by: author.clone(), last_used: Some(old_use) },
                    replaced_at: rolled_at,
                    own_expiry: expires_at,
                    stops_at,
                });
                key.current = SecretFacts { made_at: rolled_at, made_by: author.clone(), last_used: None };
                key.changed_at = rolled_at;
                old_hash = Some(self.token(place.id, id)?.1);
            }
            Fate::Disabled => {
                let at = (now - days(number.clamp(1, 30)) + minutes / 2).max(created_at + Duration::hours(1)).min(now - Duration::hours(1));
                key.life.disabled_at = Some(at);
                let by_admin = self.dice.chance(40) || left.is_some();
                key.disabled_by = if by_admin { Some(admin_of(place)) } else { who() };
                key.disable_reason = (*self.dice.pick(&["", "Not in use for a while", "Under review", "The service is being moved"])).into();
                key.changed_at = at;
            }
            Fate::Revoked => {
                let at = (now - days(number.clamp(1, 200)) - minutes / 2).max(created_at + Duration::hours(1)).min(now - Duration::hours(1));
                key.life.revoked_at = Some(at);
                key.revoked_by = if left.is_some() { Some(admin_of(place)) } else { who() };
                key.revoke_reason = (*self.dice.pick(&["", "No longer needed", "Replaced by another key", "Service was shut down"])).into();
                key.changed_at = at;
            }
            _ => {}
        }
        self.last_use(&mut key, fate, left);
        Ok(Draft { key, hash, old_hash, token, fate })
    }

    /// An address within the ranges of the key, else one of the data centre's.
    fn address(&mut self, key: &Key) -> String {
        let host = self.dice.between(9, 15);
        match key.ip_ranges.texts().first().map(String::as_str) {
            Some("185.41.12.8/29") => format!("185.41.12.{host}"),
            Some("198.51.100.0/24") => format!("198.51.100.{}", host + 30),
            _ => format!("10.20.{}.{}", host % 8, host + 8),
        }
    }

    fn last_use(&mut self, key: &mut Key, fate: Fate, left: Option<Time>) {
        let ends = [key.life.revoked_at, key.life.disabled_at].into_iter().flatten().min();
        let at = match (fate, ends) {
            (_, Some(end)) => end - Duration::minutes(self.dice.between(1, 3_000)),
            (Fate::Expired, _) => key.life.expires_at.unwrap_or(self.now) - Duration::minutes(self.dice.between(1, 9_000)),
            (Fate::Active, _) if self.dice.chance(12) => return,
            (Fate::Active, _) if self.dice.chance(20) => self.ago(2, 60),
            _ => self.now - Duration::minutes(self.dice.between(1, 300)),
        };
        let at = left.map_or(at, |left| at.min(left - Duration::minutes(self.dice.between(1, 300))));
        if at <= key.created_at {
            return;
        }
        let used = Use { at, ip: Some(self.address(key)) };
        match &mut key.old {
            // Half of the overlaps have moved on to the new secret.
            Some(_) if self.dice.chance(50) => key.current.last_used = Some(used),
            Some(old) => old.secret.last_used = Some(used),
            None => key.current.last_used = Some(used),
        }
        let by_old = key.old.as_ref().and_then(|old| old.secret.last_used.clone());
        key.last_used = key.current.last_used.clone().into_iter().chain(by_old).max_by_key(|used| used.at);
    }

    fn story(&mut self, place: &Place, (name, owner, fate, number, comment): Story) -> Result<Draft, Failure> {
        let mut draft = self.draft(place, owner, name, comment, fate, number)?;
        if fate == Fate::Overlap {
            // The first story is what the printed curl asks with.
            draft.key.ip_ranges = IpRanges::default();
        }
        Ok(draft)
    }

    fn management(&mut self, place: &Place) -> Result<Draft, Failure> {
        let mut draft = self.draft(place, "Ines Ferreira", "Automation of Keyward", "Looks after the keys of the pipeline", Fate::Active, 90)?;
        let scopes = ["keyward:keys.read", "keyward:keys.write", "keyward:keys.roll"].iter().map(|scope| scope.parse::<Scope>());
        draft.key.access = KeyAccess::Scopes(scopes.collect::<Result<_, _>>()?);
        draft.key.ip_ranges = IpRanges::default();
        Ok(draft)
    }

    fn any<'p>(&mut self, place: &'p Place, number: usize) -> Result<(&'p str, Draft), Failure> {
        let fate = match self.dice.between(0, 100) {
            0..=56 => Fate::Active,
            57..=64 => Fate::Soon,
            65..=70 => Fate::Overlap,
            71..=75 => Fate::Grace,
            76..=81 => Fate::Expired,
            82..=87 => Fate::Disabled,
            _ => Fate::Revoked,
        };
        let owners: Vec<&'static str> =
            place.members.keys().copied().filter(|name| !["Astrid Nyman", "Liv Haugen", "Marta Nowak"].contains(name)).collect();
        let owner = *self.dice.pick(&owners);
        let fate = if owner == SUSPENDED && fate == Fate::Overlap { Fate::Active } else { fate };
        let name = format!("{} – {}", self.dice.pick(&SYSTEMS), self.dice.pick(&PLACES));
        // The same system at the same place has several keys.
        let name = if self.dice.chance(50) { format!("{name} {}", number % 9 + 1) } else { name };
        let comment = *self.dice.pick(&COMMENTS);
        let days_away = match fate {
            Fate::Soon => self.dice.between(1, 14),
            Fate::Grace => self.dice.between(1, 13),
            Fate::Overlap => self.dice.between(1, 10),
            Fate::Expired => self.dice.between(15, 160),
            _ => self.dice.between(15, 350),
        };
        let mut draft = self.draft(place, owner, &name, comment, fate, days_away)?;
        match self.dice.between(0, 10) {
            0..=2 => draft.key.access = KeyAccess::Role(*self.dice.pick(place.held_by(owner))),
            3 | 4 => {
                let chosen = [*self.dice.pick(&["shipments:read", "inventory:read"]), *self.dice.pick(&["quotes:read", "inventory:write"])];
                let held: Vec<_> = chosen.iter().filter(|scope| place.holds(owner, scope)).collect();
                if !held.is_empty() {
                    draft.key.access = KeyAccess::Scopes(held.into_iter().map(|scope| scope.parse::<Scope>()).collect::<Result<_, _>>()?);
                }
            }
            _ => {}
        }
        if self.dice.chance(25) {
            let chosen = [*self.dice.pick(&["site:rotterdam", "site:gdansk", "site:poznan"]), *self.dice.pick(&["data-set:stock", "site:hamburg"])];
            draft.key.resources = ResourceSet::Chosen(chosen.iter().map(|pattern| pattern.parse()).collect::<Result<BTreeSet<_>, _>>()?);
        }
        if self.dice.chance(15) {
            draft.key.notice_recipients = vec![format!("on-call@{}.example", place.slug).parse()?];
        }
        Ok((owner, draft))
    }

    /// One of a large fleet, for demos with very many keys; `number` of `count`, the oldest first.
    fn scanner(&mut self, place: &Place, number: u32, count: u32) -> Result<Draft, Failure> {
        let fate = match number % 40 {
            0 => Fate::Revoked,
            1 => Fate::Disabled,
            _ => Fate::Active,
        };
        let name = format!("Scanner {number:07} – {}", PLACES[number as usize % 4]);
        let mut draft = self.draft(place, "scanner-fleet", &name, "", fate, 1)?;
        // Made one after the other over a bit more than a year, so that some are in grace and some have expired.
        let age = days(400) * i32::try_from(count - number)? / i32::try_from(count)?;
        let created_at = self.now - age - Duration::hours(1);
        let ip = Some(self.address(&draft.key));
        let key = &mut draft.key;
        (key.created_at, key.expiry_set_at, key.current.made_at) = (created_at, created_at, created_at);
        (key.lifetime, key.life.expires_at) = (Some(Lifetime::Months(12)), Lifetime::Months(12).after(created_at));
        let until = key.life.expires_at.map_or(self.now, |end| end.min(self.now));
        let stopped = created_at + Duration::seconds(self.dice.between(60, (until - created_at).num_seconds()));
        key.life.disabled_at = key.life.disabled_at.and(Some(stopped));
        key.life.revoked_at = key.life.revoked_at.and(Some(stopped));
        key.changed_at = if fate == Fate::Active { created_at } else { stopped };
        let used = if fate == Fate::Active { until - Duration::minutes(self.dice.between(1, 50)) } else { stopped };
        key.last_used = Some(Use { at: used.max(created_at), ip });
        draft.key.current.last_used.clone_from(&draft.key.last_used);
        Ok(draft)
    }
}

fn admin_of(place: &Place) -> Actor {
    Actor { member: Some(place.admin), name: admin_name(place) }
}

fn admin_name(place: &Place) -> String {
    place.members.iter().find(|(_, id)| **id == place.admin).map(|(name, _)| (*name).to_owned()).unwrap_or_default()
}

/// Thirty days of use by the hour: busy on weekdays by day, quiet at night and on Sundays; refused where a key had stopped.
fn write_use(tx: &mut Tx<'_>, told: &[(&Place, &str, Draft)], people: &People, maker: &mut Maker<'_>) -> Result<(), StoreError> {
    let mut facts = Vec::new();
    for place in &people.tenants {
        facts.push((place.id, tenants::get(tx, place.id)?.facts()));
    }
    let (ranges, scopes) = (IpRanges::default(), crate::domain::names::Scopes::new());
    let newest = maker.now.timestamp() / 3_600;
    let mut counts = Vec::new();
    for (place, owner, Draft { key, .. }) in told {
        let Some(last) = &key.last_used else { continue };
        let Some((_, tenant)) = facts.iter().find(|(id, _)| *id == place.id) else { continue };
        let busy = *maker.dice.pick(&[2i64, 6, 20, 60, 120, 400, 1_500]);
        for hour in newest - 30 * 24..=newest {
            let Some(at) = chrono::DateTime::from_timestamp(hour * 3_600, 0) else { continue };
            if at < key.created_at || at > last.at + days(12) {
                continue;
            }
            let shape = hour_share(at) * maker.dice.between(70, 131) / 100;
            let asked = busy * shape / 100;
            let life = Life {
                expires_at: key.life.expires_at,
                disabled_at: key.life.disabled_at.filter(|from| *from <= at),
                revoked_at: key.life.revoked_at.filter(|from| *from <= at),
            };
            let owner_active = *owner != SUSPENDED || at < left_at(maker.now);
            let key_facts = KeyFacts { life, old_stops_at: None, owner_active, ip_ranges: &ranges, scopes: &scopes, resources: &ResourceSet::All };
            let verdict = decide(tenant, &key_facts, Presented::Current, &Request::default(), at);
            let (accepted, refused) = match verdict.code {
                Code::Valid | Code::ValidInGrace if at <= last.at => (asked, if maker.dice.chance(4) { asked / 30 + 1 } else { 0 }),
                // A client that nobody told goes on for a while, less and less.
                Code::Revoked | Code::Disabled | Code::Expired | Code::OwnerInactive => (0, asked / 20),
                _ => (0, 0),
            };
            if accepted + refused > 0 {
                counts.push(HourCount { tenant: place.id, key: key.id, hour, accepted, refused });
            }
        }
    }
    usage::insert_many(tx, &counts)
}

/// How busy an hour is, in hundredths of the busiest.
fn hour_share(at: Time) -> i64 {
    let by_hour = match at.hour() {
        7..=10 => 80,
        11..=15 => 100,
        16..=18 => 70,
        19..=22 => 35,
        _ => 12,
    };
    let by_day = match at.weekday() {
        chrono::Weekday::Sat => 45,
        chrono::Weekday::Sun => 20,
        _ => 100,
    };
    by_hour * by_day / 100
}

/// Three gateway credentials of the tenant; the token of the first.
fn gateways(app: &App, place: &Place, now: Time) -> Result<String, Failure> {
    let mut first = String::new();
    for (name, age) in [("eu-1 nginx", 310), ("eu-2 nginx", 310), ("staging caddy", 280)] {
        let at = now - days(age);
        let token = app.store.write(at, |tx| -> Result<Token, Failure> {
            let id = fresh_id(&mut chance::fill);
            let token = Token::make(Purpose::Gateway, id, &mut chance::fill);
            let pepper = tx.secrets().pepper_version();
            let hash = tx.secrets().token_hash(pepper, Purpose::Gateway, place.id, token.reveal()).ok_or("the secret file has no pepper")?;
            let gateway =
                gateways::create(tx, place.id, &gateways::New { public_id: id, name, by: &admin_name(place), expires_at: None, hash, pepper })?;
            let asked = Some((now - Duration::minutes(age / 100), Some("10.20.0.4".to_owned())));
            usage::gateway_used(tx, &GatewayUse { gateway, asked, refused: None, refused_count: 0 })?;
            Ok(token)
        })?;
        if first.is_empty() {
            token.reveal().clone_into(&mut first);
        }
    }
    Ok(first)
}
