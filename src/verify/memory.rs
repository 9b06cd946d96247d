//! What verification remembers: the facts of recent keys, bounded in bytes. Facts, never verdicts: time, address and request are
//! judged each time.
//!
//! Entries of one tenant share what they have in common (tenant, owner, access), and die together when the tenant's `stale` is set.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    net::IpAddr,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
};

use actix_web::http::header::HeaderValue;

use super::tally::Place;
use crate::{
    domain::{
        access::ResourceSet,
        ids::{AccessRoleId, GatewayId, KeyId, MemberId, TenantId},
        ip_range::IpRanges,
        key::Life,
        names::{Scope, Scopes},
        time::Time,
        token::{Purpose, SecretHash},
        verdict::{KeyFacts, Presented, TenantFacts},
    },
    secrets::Secrets,
    store::facts::{StoredKey, StoredSecret},
};

/// Locks that a panic elsewhere does not poison: what they guard is replaced whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Scopes and resources in effect, with the headers that name them. Keys with the same ones share it.
#[derive(Debug)]
pub struct Access {
    /// The scopes.
    pub scopes: Scopes,
    /// The resources.
    pub resources: ResourceSet,
    /// The scopes, separated by spaces.
    pub scopes_header: HeaderValue,
    /// The resources, separated by spaces; `*` is all.
    pub resources_header: HeaderValue,
}

/// The owner of keys.
#[derive(Debug)]
pub struct Owner {
    /// The member.
    pub id: MemberId,
    /// Neither suspended nor removed.
    pub active: bool,
    /// The address of a person.
    pub email: Option<Box<str>>,
    /// What they hold.
    pub access: Arc<Access>,
}

/// A tenant with what its keys share.
#[derive(Debug)]
pub struct Tenant {
    /// The tenant.
    pub id: TenantId,
    /// Its address, as the answers name it.
    pub slug: HeaderValue,
    /// What a verdict needs of it.
    pub facts: TenantFacts,
    stale: AtomicBool,
    owners: RwLock<HashMap<MemberId, Arc<Owner>>>,
    roles: RwLock<HashMap<AccessRoleId, Arc<Scopes>>>,
    accesses: Mutex<HashMap<(HeaderValue, HeaderValue), Arc<Access>>>,
}

/// More combinations of scopes and resources than this are not shared, so that a tenant's table of them stays small.
const MOST_SHARED: usize = 10_000;

impl Tenant {
    pub(super) fn new(tenant: &crate::store::tenants::Tenant) -> Self {
        Self {
            id: tenant.id,
            slug: header(&tenant.slug),
            facts: tenant.facts(),
            stale: AtomicBool::new(false),
            owners: RwLock::default(),
            roles: RwLock::default(),
            accesses: Mutex::default(),
        }
    }

    /// Whether something changed that these facts, or those of its keys, rest on.
    pub fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Acquire)
    }

    pub(super) fn owner(&self, id: MemberId) -> Option<Arc<Owner>> {
        read(&self.owners).get(&id).cloned()
    }

    pub(super) fn remember_owner(&self, owner: Owner) -> Arc<Owner> {
        let owner = Arc::new(owner);
        write(&self.owners).insert(owner.id, Arc::clone(&owner));
        owner
    }

    pub(super) fn role(&self, id: AccessRoleId) -> Option<Arc<Scopes>> {
        read(&self.roles).get(&id).cloned()
    }

    pub(super) fn remember_role(&self, id: AccessRoleId, scopes: Scopes) -> Arc<Scopes> {
        let scopes = Arc::new(scopes);
        write(&self.roles).insert(id, Arc::clone(&scopes));
        scopes
    }

    /// The shared form of these scopes and resources.
    pub(super) fn access(&self, scopes: Scopes, resources: ResourceSet) -> Arc<Access> {
        let scopes_header = header(&scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(" "));
        let resources_header = match &resources {
            ResourceSet::All => HeaderValue::from_static("*"),
            ResourceSet::Chosen(patterns) => header(&patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
        };
        let key = (scopes_header, resources_header);
        let mut shared = lock(&self.accesses);
        if let Some(access) = shared.get(&key) {
            return Arc::clone(access);
        }
        let access = Arc::new(Access { scopes, resources, scopes_header: key.0.clone(), resources_header: key.1.clone() });
        if shared.len() < MOST_SHARED {
            shared.insert(key, Arc::clone(&access));
        }
        access
    }
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// What few keys have.
#[derive(Debug)]
struct Rare {
    ranges: IpRanges,
    old: Option<Old>,
    /// The beginnings of dead secrets' hashes: enough to know one again, and no more than needed.
    dead: Box<[([u8; 16], u32)]>,
}

#[derive(Debug)]
struct Old {
    secret: StoredSecret,
    replaced_at: Time,
    stops_at: Time,
}

/// The facts of one key.
#[derive(Debug)]
pub struct Entry {
    /// Its tenant.
    pub tenant: Arc<Tenant>,
    /// Its owner.
    pub owner: Arc<Owner>,
    /// What it may do, cut to its owner's.
    pub access: Arc<Access>,
    /// Its name.
    pub name: Box<str>,
    rare: Option<Box<Rare>>,
    hash: SecretHash,
    /// Microseconds since 1970, for a million of these are kept; never is [`NEVER`].
    expires_at: i64,
    pepper: u32,
    disabled: bool,
    revoked: bool,
    /// The current secret had not been used when this was read, nor since.
    unused: AtomicBool,
    /// Where its use is being counted.
    pub(super) place: Place,
}

/// Beyond every moment.
const NEVER: i64 = i64::MAX;

static ANYWHERE: LazyLock<IpRanges> = LazyLock::new(IpRanges::default);

impl Entry {
    pub(super) fn new(stored: &StoredKey, tenant: Arc<Tenant>, owner: Arc<Owner>, access: Arc<Access>) -> Self {
        let plain = stored.ip_ranges.is_empty() && stored.old.is_none() && stored.dead.is_empty();
        let rare = (!plain).then(|| {
            Box::new(Rare {
                ranges: stored.ip_ranges.clone(),
                old: stored.old.map(|old| Old { secret: old.secret, replaced_at: old.replaced_at, stops_at: old.stops_at }),
                dead: stored.dead.iter().map(|dead| (beginning(&dead.hash), pepper(dead.pepper))).collect(),
            })
        });
        Self {
            tenant,
            owner,
            access,
            name: stored.name.as_str().into(),
            rare,
            hash: stored.current.hash,
            expires_at: stored.life.expires_at.map_or(NEVER, |end| end.timestamp_micros()),
            pepper: pepper(stored.current.pepper),
            disabled: stored.life.disabled_at.is_some(),
            revoked: stored.life.revoked_at.is_some(),
            unused: AtomicBool::new(!stored.used),
            place: Place::default(),
        }
    }

    /// Whether the use of the current secret that is being counted is its first, as far as this process knows.
    pub(super) fn is_first_use(&self) -> bool {
        self.unused.load(Ordering::Relaxed) && self.unused.swap(false, Ordering::Relaxed)
    }

    /// Which of the key's secrets this token holds. Current and old are compared in constant time, whatever the first says.
    pub(super) fn compare(&self, secrets: &Secrets, token: &str) -> Option<(Presented, SecretHash)> {
        let hash = |version: u32| secrets.token_hash(version.into(), Purpose::Key, self.tenant.id, token);
        let presented = hash(self.pepper);
        let old = self.rare.as_ref().and_then(|rare| rare.old.as_ref());
        let presented_old = match old {
            Some(old) if old.secret.pepper != i64::from(self.pepper) => hash(pepper(old.secret.pepper)),
            _ => presented,
        };
        let is_current = presented.is_some_and(|hash| hash.matches(&self.hash));
        let is_old = presented_old.is_some_and(|hash| hash.matches(old.map_or(&NO_HASH, |old| &old.secret.hash)));
        if is_current {
            return Some((Presented::Current, self.hash));
        }
        if is_old && let Some(old) = old {
            return Some((Presented::Old, old.secret.hash));
        }
        let dead = self.rare.as_ref()?.dead.iter().find(|(start, version)| {
            let presented = if *version == self.pepper { presented } else { hash(*version) };
            presented.is_some_and(|hash| subtle::ConstantTimeEq::ct_eq(beginning(&hash).as_slice(), start.as_slice()).into())
        });
        dead.map(|_| (Presented::Dead, NO_HASH))
    }

    /// What the verdict is made from.
    pub fn facts(&self) -> KeyFacts<'_> {
        KeyFacts {
            life: Life {
                expires_at: self.expires_at(),
                disabled_at: self.disabled.then_some(Time::UNIX_EPOCH),
                revoked_at: self.revoked.then_some(Time::UNIX_EPOCH),
            },
            old_stops_at: self.rare.as_ref().and_then(|rare| rare.old.as_ref()).map(|old| old.stops_at),
            owner_active: self.owner.active,
            ip_ranges: self.rare.as_ref().map_or(&ANYWHERE, |rare| &rare.ranges),
            scopes: &self.access.scopes,
            resources: &self.access.resources,
        }
    }

    /// When the key expires.
    pub fn expires_at(&self) -> Option<Time> {
        // No moment has the number of never.
        Time::from_timestamp_micros(self.expires_at)
    }

    /// When the old secret was first replaced.
    pub fn replaced_at(&self) -> Option<Time> {
        self.rare.as_ref()?.old.as_ref().map(|old| old.replaced_at)
    }

    /// About how many bytes it takes, with its share of the map.
    pub(super) fn weight(&self) -> u64 {
        let rare = self.rare.as_ref().map_or(0, |rare| size_of::<Rare>() + rare.dead.len() * 20 + if rare.ranges.is_empty() { 0 } else { 200 });
        let alone =
            if Arc::strong_count(&self.access) == 1 { self.access.scopes_header.len() * 4 + self.access.resources_header.len() * 4 + 300 } else { 0 };
        (size_of::<Self>() + 16 + 72 + self.name.len() + rare + alone) as u64
    }
}

/// No HMAC is all zeros but by a chance of 2^-256.
const NO_HASH: SecretHash = SecretHash([0; 32]);

fn beginning(hash: &SecretHash) -> [u8; 16] {
    std::array::from_fn(|i| hash.0[i])
}

fn pepper(version: i64) -> u32 {
    u32::try_from(version).unwrap_or(u32::MAX)
}

/// A gateway credential.
#[derive(Debug)]
pub struct Gateway {
    /// The credential.
    pub id: GatewayId,
    /// Its tenant.
    pub tenant: Arc<Tenant>,
    pub(super) stored: crate::store::facts::StoredGateway,
}

impl Gateway {
    /// Whether this token opens the verify calls now.
    pub(super) fn admits(&self, secrets: &Secrets, token: &str, now: Time) -> bool {
        let matches = |secret: &StoredSecret| {
            secrets.token_hash(secret.pepper, Purpose::Gateway, self.tenant.id, token).is_some_and(|hash| hash.matches(&secret.hash))
        };
        let known = matches(&self.stored.current) || self.stored.old.as_ref().is_some_and(|(secret, stops_at)| *stops_at > now && matches(secret));
        known && !self.stored.revoked && self.stored.expires_at.is_none_or(|end| end > now)
    }
}

#[derive(Clone)]
struct ByWeight;

impl quick_cache::Weighter<KeyId, Arc<Entry>> for ByWeight {
    fn weight(&self, _: &KeyId, entry: &Arc<Entry>) -> u64 {
        entry.weight()
    }
}

/// The facts of recent keys.
pub(super) struct Keys(quick_cache::sync::Cache<KeyId, Arc<Entry>, ByWeight>);

impl Keys {
    pub(super) fn new(bytes: u64) -> Self {
        // The estimate sizes only the list of keys that were dropped lately; the map itself grows with what is in it.
        Self(quick_cache::sync::Cache::with_weighter(100_000, bytes, ByWeight))
    }

    pub(super) fn get(&self, id: &KeyId) -> Option<Arc<Entry>> {
        self.0.get(id).filter(|entry| !entry.tenant.is_stale())
    }

    pub(super) fn insert(&self, id: KeyId, entry: Arc<Entry>) {
        self.0.insert(id, entry);
    }

    pub(super) fn remove(&self, id: &KeyId) {
        self.0.remove(id);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The tenants that keys in memory belong to.
#[derive(Default)]
pub(super) struct Tenants(RwLock<HashMap<TenantId, Arc<Tenant>>>);

impl Tenants {
    pub(super) fn get(&self, id: TenantId) -> Option<Arc<Tenant>> {
        read(&self.0).get(&id).cloned()
    }

    /// Keeps a tenant, and answers the one that counts: of two that were read at once, only the one that is kept here can be
    /// dropped later, so nothing may rest on the other.
    pub(super) fn insert(&self, tenant: Arc<Tenant>) -> Arc<Tenant> {
        Arc::clone(write(&self.0).entry(tenant.id).or_insert(tenant))
    }

    /// Drops the tenant, and with it every key of it.
    pub(super) fn drop_one(&self, id: TenantId) {
        if let Some(tenant) = write(&self.0).remove(&id) {
            tenant.stale.store(true, Ordering::Release);
        }
    }

    /// Drops every tenant, and with them every key.
    pub(super) fn drop_all(&self) {
        for (_, tenant) in write(&self.0).drain() {
            tenant.stale.store(true, Ordering::Release);
        }
    }
}

/// Tokens that were looked up and found to be nobody's; each is remembered until anything changes. A second memory, so that junk
/// pushes no good key out.
pub(super) struct Unknown {
    tokens: quick_cache::sync::Cache<u64, u64>,
    hasher: RandomState,
}

impl Unknown {
    pub(super) fn new() -> Self {
        Self { tokens: quick_cache::sync::Cache::new(20_000), hasher: RandomState::new() }
    }

    pub(super) fn holds(&self, token: &str, epoch: u64) -> bool {
        self.tokens.get(&self.hasher.hash_one(token)) == Some(epoch)
    }

    pub(super) fn insert(&self, token: &str, epoch: u64) {
        self.tokens.insert(self.hasher.hash_one(token), epoch);
    }
}

/// Which IDs exist, by 32 bits of a hash each: an ID that is not in here is nobody's, one that is in here probably exists.
pub(super) struct KnownIds {
    hashes: RwLock<HashSet<u32, BuildHasherDefault<Spread>>>,
    hasher: RandomState,
    learnt: AtomicU8,
}

/// How much of the IDs is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learnt {
    /// The first pass is not done.
    Some,
    /// Some may have been made since.
    Most,
    /// Every one that was committed, as far as this process has been told.
    All,
}

/// What is known of an ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exists {
    /// It probably exists, or nobody knows yet.
    Maybe,
    /// It does not, unless it was made a moment ago.
    Hardly,
    /// It does not.
    No,
}

/// The values are hashes already; they only have to reach the upper bits, too.
#[derive(Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.0 = u64::from(value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl KnownIds {
    pub(super) fn new() -> Self {
        Self { hashes: RwLock::default(), hasher: RandomState::new(), learnt: AtomicU8::new(0) }
    }

    #[allow(clippy::cast_possible_truncation)]
    fn hash(&self, id: &str) -> u32 {
        self.hasher.hash_one(id) as u32
    }

    pub(super) fn exists(&self, id: &str) -> Exists {
        let learnt = self.learnt();
        if learnt == Learnt::Some || read(&self.hashes).contains(&self.hash(id)) {
            Exists::Maybe
        } else if learnt == Learnt::Most {
            Exists::Hardly
        } else {
            Exists::No
        }
    }

    pub(super) fn add<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        let mut hashes = write(&self.hashes);
        for id in ids {
            hashes.insert(self.hash(id));
        }
    }

    pub(super) fn learnt(&self) -> Learnt {
        match self.learnt.load(Ordering::Acquire) {
            0 => Learnt::Some,
            1 => Learnt::Most,
            _ => Learnt::All,
        }
    }

    pub(super) fn set_learnt(&self, learnt: Learnt) {
        self.learnt.store(learnt as u8, Ordering::Release);
    }

    /// There may be new ones.
    pub(super) fn fall_behind(&self) {
        if self.learnt() == Learnt::All {
            self.set_learnt(Learnt::Most);
        }
    }
}

/// So many a second, and no more.
pub(super) struct Budget {
    most: u64,
    second_and_count: AtomicU64,
}

impl Budget {
    pub(super) fn new(most: u64) -> Self {
        Self { most, second_and_count: AtomicU64::new(0) }
    }

    /// Takes one, where there is one left in this second of `uptime`.
    pub(super) fn take(&self, uptime: std::time::Duration) -> bool {
        let second = uptime.as_secs() & 0xFFFF_FFFF;
        let taken = self.second_and_count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |value| {
            let (then, count) = (value >> 32, value & 0xFFFF_FFFF);
            match then == second {
                true if count >= self.most => None,
                true => Some(value + 1),
                false => Some(second << 32 | 1),
            }
        });
        taken.is_ok()
    }
}

/// An address as it is written down.
pub(super) fn address(ip: Option<IpAddr>) -> Option<String> {
    ip.map(|ip| ip.to_string())
}
