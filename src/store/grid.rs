//! The key grid: what matches a filter, how many by status, one page at a time, with a million keys in one tenant.
//!
//! A filter that matches at most [`MOST`] keys is *complete*: its keys are gathered with the facts of their status, then counted,
//! sorted and cut to a page here. Anything larger is *wide*: counts stop at a bound, and a page is read in the order of an index
//! from where the last one ended. Every query starts at a [`Reach`].

use std::{cmp::Ordering, collections::HashMap, fmt};

use diesel::prelude::*;

use super::{
    Db, StoreError,
    keys::{self, KeyRow},
    members::Reach,
    micros, moment, per_backend,
    schema::{access_roles, keys as table},
};
use crate::domain::{
    ids::{AccessRoleId, KeyId, MemberId, TenantId},
    key::{Key, Life, Status},
    time::{Time, days},
};

/// Up to here counts are exact and every order is offered.
pub const MOST: usize = 10_000;
/// How many keys of a wide filter are looked at for its lower bounds of counts.
const SAMPLE: usize = 2_000;
/// How many of the newest keys are tried for a status before its own index is sorted.
const TRY_NEWEST: usize = 60_000;
/// The same where each has to be read whole.
const TRY_NEWEST_WHOLE: usize = 3_000;

/// The status selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tab {
    /// Every status.
    #[default]
    All,
    /// Neither revoked, disabled nor expired.
    Active,
    /// The part of Active that expires within the largest notice.
    ExpiringSoon,
    /// Disabled and not revoked.
    Disabled,
    /// Expired, neither revoked nor disabled.
    Expired,
    /// Revoked.
    Revoked,
}

impl Tab {
    /// All of them with their word in addresses and the one that people read.
    pub const ALL: [(Self, &'static str, &'static str); 6] = [
        (Self::All, "", "All"),
        (Self::Active, "active", "Active"),
        (Self::ExpiringSoon, "expiring", "Expiring soon"),
        (Self::Disabled, "disabled", "Disabled"),
        (Self::Expired, "expired", "Expired"),
        (Self::Revoked, "revoked", "Revoked"),
    ];
}

/// The access that keys are filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessFilter {
    /// *Same as owner*.
    Owner,
    /// One access role.
    Role(AccessRoleId),
    /// Chosen scopes.
    Scopes,
}

/// The use that keys are filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsedFilter {
    /// Not in the last 30 days, or never.
    NotFor30Days,
    /// Never.
    Never,
}

/// What the grid shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Any part of name, ID, owner, comment or access role; one or two characters match beginnings.
    pub text: String,
    /// One owner.
    pub owner: Option<MemberId>,
    /// How the scopes were chosen.
    pub access: Option<AccessFilter>,
    /// When it was last used.
    pub used: Option<UsedFilter>,
    /// The status.
    pub tab: Tab,
}

impl Filter {
    /// Whether anything but the status narrows the grid.
    pub fn is_set(&self) -> bool {
        !self.folded().is_empty() || self.owner.is_some() || self.access.is_some() || self.used.is_some()
    }

    /// The text in small letters; a line break would reach from one field into the next.
    fn folded(&self) -> String {
        let text: String = self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.trim().to_lowercase()
    }

    /// What to look for in the search column, where two line breaks precede each field.
    fn needle(&self) -> Option<String> {
        let text = self.folded();
        match text.chars().count() {
            0 => None,
            1 | 2 => Some(keys::as_searched(&format!("\n\n{text}"))),
            _ => Some(keys::as_searched(&text)),
        }
    }
}

/// What keys are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// The name.
    Name,
    /// The owner's name.
    Owner,
    /// When it was created.
    #[default]
    Created,
    /// When it was last changed.
    Changed,
    /// When it expires; Never comes last.
    Expires,
    /// When it was last used; never comes last.
    LastUsed,
}

impl Sort {
    /// All of them with their word in addresses.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Name, "name"),
        (Self::Owner, "owner"),
        (Self::Created, "created"),
        (Self::Changed, "changed"),
        (Self::Expires, "expires"),
        (Self::LastUsed, "used"),
    ];

    const fn column(self) -> &'static str {
        match self {
            Self::Name => "k.name_folded",
            Self::Owner => "k.owner_folded",
            Self::Created => "k.seq",
            Self::Changed => "k.changed_at",
            Self::Expires => "k.expires_at",
            Self::LastUsed => "k.last_used_at",
        }
    }

    const fn index(self) -> &'static str {
        match self {
            Self::Name => "keys_by_name",
            Self::Owner => "keys_by_owner_name",
            Self::Created => "keys_by_seq",
            Self::Changed => "keys_by_changed",
            Self::Expires => "keys_by_expiry",
            Self::LastUsed => "keys_by_use",
        }
    }

    const fn is_text(self) -> bool {
        matches!(self, Self::Name | Self::Owner)
    }

    const fn may_be_empty(self) -> bool {
        matches!(self, Self::Expires | Self::LastUsed)
    }
}

/// An order; empty values come last whichever way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// What by.
    pub sort: Sort,
    /// Largest first.
    pub descending: bool,
}

impl Default for Order {
    fn default() -> Self {
        Self { sort: Sort::Created, descending: true }
    }
}

/// The value of a row in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Empty,
    Number(i64),
    Text(String),
}

/// Where a page begins or ends: the place of a row in the order, and how many rows come before the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    forward: bool,
    before: u64,
    seq: i64,
    value: Value,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}.{}", if self.forward { 'n' } else { 'p' }, self.before, self.seq)?;
        match &self.value {
            Value::Empty => Ok(()),
            Value::Number(n) => write!(f, ".i{n}"),
            Value::Text(text) => write!(f, ".t{text}"),
        }
    }
}

impl Cursor {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let forward = match text.chars().next()? {
            'n' => true,
            'p' => false,
            _ => return None,
        };
        let mut parts = text.get(1..)?.splitn(3, '.');
        // No more than there can be keys, so that the rows of a page can be added to it.
        let before = parts.next()?.parse::<u64>().ok()?.min(i64::MAX.unsigned_abs());
        let seq = parts.next()?.parse().ok()?;
        let value = match parts.next() {
            None => Value::Empty,
            Some(rest) => match (rest.get(..1)?, rest.get(1..)?) {
                ("i", n) => Value::Number(n.parse().ok()?),
                ("t", text) => Value::Text(text.replace('\0', "")),
                _ => return None,
            },
        };
        Some(Self { forward, before, seq, value })
    }

    /// A place in the order of creation.
    pub(super) fn at_seq(forward: bool, before: u64, seq: i64) -> Self {
        Self { forward, before, seq, value: Value::Empty }
    }

    /// Whether a page begins here, rather than ends.
    pub(super) fn is_forward(&self) -> bool {
        self.forward
    }

    /// The number of the key at this place.
    pub(super) fn seq(&self) -> i64 {
        self.seq
    }

    /// How many keys come before the page.
    pub(super) fn before(&self) -> u64 {
        self.before
    }

    /// Whether the value is one of this sort: a place comes from an address, so it may be from another order.
    fn fits(&self, sort: Sort) -> bool {
        match self.value {
            Value::Empty => sort == Sort::Created || sort.may_be_empty(),
            Value::Number(_) => !sort.is_text() && sort != Sort::Created,
            Value::Text(_) => sort.is_text(),
        }
    }
}

/// How many keys: exact, or at least so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// The number.
    pub number: usize,
    /// Whether there may be more.
    pub or_more: bool,
}

impl Count {
    pub(super) fn capped(number: usize) -> Self {
        Self { number: number.min(MOST), or_more: number > MOST }
    }

    /// Both together.
    #[must_use]
    pub(super) fn plus(self, other: Self) -> Self {
        let sum = self.number + other.number;
        Self { number: sum.min(MOST), or_more: self.or_more || other.or_more || sum > MOST }
    }

    /// Whether there is none at all.
    pub const fn is_none(self) -> bool {
        self.number == 0 && !self.or_more
    }
}

impl fmt::Display for Count {
    /// `4,310`, `10 000+`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.or_more && self.number == MOST {
            return f.write_str("10 000+");
        }
        let digits = self.number.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        f.write_str(if self.or_more { "+" } else { "" })
    }
}

/// How many keys each status has, in the order of [`Tab::ALL`].
pub type Counts = [Count; 6];

/// Whose grid, at what moment.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// What the caller may look at.
    pub reach: &'a Reach,
    /// What is shown of it.
    pub filter: &'a Filter,
    /// The moment that statuses are worked out for.
    pub now: Time,
    /// How long before its expiry a key counts as *Expiring soon*.
    pub soon: chrono::Duration,
}

/// One page of the grid.
#[derive(Debug, Clone)]
pub struct Page {
    /// The keys, in order.
    pub keys: Vec<Key>,
    /// How many there are by status, whatever status is shown.
    pub counts: Counts,
    /// The order, which may be another than asked for: a wide filter by text is sorted by creation only.
    pub order: Order,
    /// Whether other orders are offered.
    pub sortable: bool,
    /// How many keys come before this page.
    pub before: u64,
    /// Where the next page begins.
    pub next: Option<Cursor>,
    /// Where the page before ends.
    pub previous: Option<Cursor>,
}

/// A key with what its status needs and its value in the order.
#[derive(Debug, Clone, QueryableByName)]
struct Row {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    seq: i64,
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::BigInt>)]
    expires_at: Option<i64>,
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::BigInt>)]
    disabled_at: Option<i64>,
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::BigInt>)]
    revoked_at: Option<i64>,
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::BigInt>)]
    number: Option<i64>,
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::Text>)]
    word: Option<String>,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    hit: i64,
}

impl Row {
    fn is_in(&self, tab: Tab, view: &View<'_>) -> bool {
        let life =
            Life { expires_at: self.expires_at.map(moment), disabled_at: self.disabled_at.map(moment), revoked_at: self.revoked_at.map(moment) };
        let status = life.status(view.now);
        match tab {
            Tab::All => true,
            Tab::Active => status == Status::Active,
            Tab::ExpiringSoon => status == Status::Active && life.expires_at.is_some_and(|end| end <= view.now + view.soon),
            Tab::Disabled => status == Status::Disabled,
            Tab::Expired => status == Status::Expired,
            Tab::Revoked => status == Status::Revoked,
        }
    }

    fn value(&self, sort: Sort) -> Value {
        match (&self.word, self.number) {
            _ if sort == Sort::Created => Value::Number(self.seq),
            (Some(text), _) => Value::Text(text.clone()),
            (None, Some(number)) => Value::Number(number),
            (None, None) => Value::Empty,
        }
    }

    fn cursor(&self, forward: bool, before: u64, sort: Sort) -> Cursor {
        let value = if sort == Sort::Created { Value::Empty } else { self.value(sort) };
        Cursor { forward, before, seq: self.seq, value }
    }
}

fn compare(order: Order, a: (&Value, i64), b: (&Value, i64)) -> Ordering {
    let turn = |o: Ordering| if order.descending { o.reverse() } else { o };
    let by_value = match (a.0, b.0) {
        (Value::Empty, Value::Empty) => Ordering::Equal,
        (Value::Empty, _) => Ordering::Greater,
        (_, Value::Empty) => Ordering::Less,
        (Value::Number(a), Value::Number(b)) => turn(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => turn(a.cmp(b)),
        (Value::Number(_), Value::Text(_)) => Ordering::Less,
        (Value::Text(_), Value::Number(_)) => Ordering::Greater,
    };
    by_value.then_with(|| turn(a.1.cmp(&b.1)))
}

/// A statement in the making. Values are bound in the order in which they stand in the text, which both databases number alike.
#[derive(Debug, Clone, Default)]
struct Sql {
    text: String,
    binds: Vec<String>,
}

impl Sql {
    fn add(&mut self, text: impl AsRef<str>) -> &mut Self {
        self.text.push_str(text.as_ref());
        self
    }

    fn bind(&mut self, value: impl Into<String>) -> &mut Self {
        self.binds.push(value.into());
        let place = format!("${}", self.binds.len());
        self.add(place)
    }
}

/// What all queries of one view have in common.
struct Query<'a> {
    view: &'a View<'a>,
    postgres: bool,
    needle: Option<String>,
    /// The access roles whose name matches the text.
    roles: Vec<i64>,
    /// Whose keys; `None` is everybody's.
    owners: Option<Vec<i64>>,
}

/// What was found on the way to all keys of a filter.
enum Gathered {
    /// Every one.
    All(Vec<Row>),
    /// Too many; some of them, where the text was looked for.
    Some(Option<Vec<Row>>),
}

/// What a gathering starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    Owners,
    Text,
    Roles,
    Access,
    Used,
    /// The part of [`UsedFilter::NotFor30Days`] that was used at some time.
    UsedLongAgo,
    Tab(Tab),
    Everything,
}

fn numbers(list: &[i64]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

impl<'a> Query<'a> {
    fn new(db: &mut Db, view: &'a View<'a>) -> Result<Self, StoreError> {
        let needle = view.filter.needle();
        let roles = if needle.is_some() { matching_roles(db, view.reach.tenant(), &view.filter.folded())? } else { Vec::new() };
        let owners = match (view.reach.owners(), view.filter.owner) {
            (None, None) => None,
            (Some(own), None) => Some(own.to_vec()),
            (None, Some(one)) => Some(vec![one.0]),
            (Some(own), Some(one)) => Some(own.iter().copied().filter(|id| *id == one.0).collect()),
        };
        Ok(Self { view, postgres: db.is_postgres(), needle, roles, owners })
    }

    /// `keys k`, on SQLite with the index that has to be used: its planner needs no statistics then.
    fn keys(&self, index: &str) -> String {
        if self.postgres { "keys k".into() } else { format!("keys k INDEXED BY {index}") }
    }

    fn tenant(&self) -> String {
        format!("k.tenant_id = {}", self.view.reach.tenant().number())
    }

    fn in_owners(&self) -> Option<String> {
        self.owners.as_ref().map(|owners| if owners.is_empty() { "1 = 0".into() } else { format!("k.owner_id IN ({})", numbers(owners)) })
    }

    fn access(&self) -> Option<String> {
        Some(match self.view.filter.access? {
            AccessFilter::Owner => "k.access_kind = 'owner'".into(),
            AccessFilter::Scopes => "k.access_kind = 'scopes'".into(),
            AccessFilter::Role(id) => format!("k.access_role_id = {id}"),
        })
    }

    fn used(&self) -> Option<String> {
        Some(match self.view.filter.used? {
            UsedFilter::Never => "k.last_used_at IS NULL".into(),
            UsedFilter::NotFor30Days => format!("(k.last_used_at IS NULL OR k.last_used_at < {})", micros(self.view.now - days(30))),
        })
    }

    fn tab(&self, tab: Tab) -> Option<String> {
        let (now, soon) = (micros(self.view.now), micros(self.view.now + self.view.soon));
        let live = "k.revoked_at IS NULL AND k.disabled_at IS NULL";
        match tab {
            Tab::All => None,
            Tab::Active => Some(format!("{live} AND (k.expires_at IS NULL OR k.expires_at > {now})")),
            Tab::ExpiringSoon => Some(format!("{live} AND k.expires_at > {now} AND k.expires_at <= {soon}")),
            Tab::Expired => Some(format!("{live} AND k.expires_at <= {now}")),
            Tab::Disabled => Some("k.revoked_at IS NULL AND k.disabled_at IS NOT NULL".into()),
            Tab::Revoked => Some("k.revoked_at IS NOT NULL".into()),
        }
    }

    /// The text looked for in one row that is at hand anyway.
    fn text_of_row(&self, sql: &mut Sql) {
        let Some(needle) = &self.needle else { return };
        sql.add(if self.postgres { " AND (strpos(k.search, " } else { " AND (instr(k.search, " }).bind(needle.clone()).add(") > 0");
        if !self.roles.is_empty() {
            sql.add(format!(" OR k.access_role_id IN ({})", numbers(&self.roles)));
        }
        sql.add(")");
    }

    /// All filters but the status and those that the driver sees to.
    fn others(&self, sql: &mut Sql, driver: Driver) {
        if driver != Driver::Owners
            && let Some(owners) = self.in_owners()
        {
            sql.add(format!(" AND {owners}"));
        }
        if driver != Driver::Access
            && let Some(access) = self.access()
        {
            sql.add(format!(" AND {access}"));
        }
        if !matches!(driver, Driver::Used | Driver::UsedLongAgo)
            && let Some(used) = self.used()
        {
            sql.add(format!(" AND {used}"));
        }
        if !matches!(driver, Driver::Text | Driver::Roles) {
            self.text_of_row(sql);
        }
    }

    fn has_others(&self, driver: Driver) -> bool {
        let mut sql = Sql::default();
        self.others(&mut sql, driver);
        !sql.text.is_empty()
    }

    /// `FROM … WHERE …` of a driver.
    fn source(&self, sql: &mut Sql, driver: Driver) {
        let tenant = self.tenant();
        match driver {
            Driver::Owners => {
                let owners = self.in_owners().unwrap_or_else(|| "1 = 1".into());
                sql.add(format!(" FROM {} WHERE {tenant} AND {owners}", self.keys("keys_by_owner")));
            }
            Driver::Access => {
                let access = self.access().unwrap_or_else(|| "1 = 1".into());
                let index = if matches!(self.view.filter.access, Some(AccessFilter::Role(_))) { "keys_by_access_role" } else { "keys_by_access" };
                sql.add(format!(" FROM {} WHERE {tenant} AND {access}", self.keys(index)));
            }
            Driver::Used => {
                let used = self.used().unwrap_or_else(|| "1 = 1".into());
                sql.add(format!(" FROM {} WHERE {tenant} AND {used}", self.keys("keys_by_use")));
            }
            Driver::UsedLongAgo => {
                let before = micros(self.view.now - days(30));
                sql.add(format!(" FROM {} WHERE {tenant} AND k.last_used_at < {before}", self.keys("keys_by_use")));
            }
            Driver::Roles => {
                let roles = if self.roles.is_empty() { "1 = 0".into() } else { format!("k.access_role_id IN ({})", numbers(&self.roles)) };
                sql.add(format!(" FROM {} WHERE {tenant} AND {roles}", self.keys("keys_by_access_role")));
            }
            Driver::Tab(tab) => {
                let index = match tab {
                    Tab::Revoked => "keys_revoked",
                    Tab::Disabled => "keys_disabled",
                    Tab::All => "keys_by_seq",
                    Tab::Active | Tab::ExpiringSoon | Tab::Expired => "keys_live",
                };
                sql.add(format!(" FROM {} WHERE {tenant}", self.keys(index)));
                if let Some(status) = self.tab(tab) {
                    sql.add(format!(" AND {status}"));
                }
            }
            Driver::Everything => {
                sql.add(format!(" FROM {} WHERE {tenant}", self.keys("keys_by_seq")));
            }
            Driver::Text => {
                let needle = self.needle.clone().unwrap_or_default();
                if self.postgres {
                    // The signs that LIKE knows have stand-ins.
                    sql.add(format!(" FROM keys k WHERE {tenant} AND k.search LIKE ")).bind(format!("%{needle}%"));
                } else {
                    // The index over the text knows no tenants: the small index by creation says whose a match is.
                    let index = if self.has_others(driver) { "keys k" } else { "keys k INDEXED BY keys_by_seq" };
                    sql.add(format!(" FROM keys_search f CROSS JOIN {index} ON k.seq = f.rowid AND {tenant} WHERE f.search MATCH "));
                    sql.bind(format!("\"{needle}\""));
                }
            }
        }
    }

    fn columns(sort: Sort) -> String {
        let (number, word) = match sort {
            Sort::Created => ("CAST(NULL AS BIGINT)", "CAST(NULL AS TEXT)"),
            _ if sort.is_text() => ("CAST(NULL AS BIGINT)", sort.column()),
            _ => (sort.column(), "CAST(NULL AS TEXT)"),
        };
        format!(
            "k.seq AS seq, k.expires_at AS expires_at, k.disabled_at AS disabled_at, k.revoked_at AS revoked_at, {number} AS number, {word} AS word"
        )
    }

    /// Up to `most` + 1 keys of a driver, with `hit` = 1 where they match the other filters, too.
    fn gather(&self, db: &mut Db, driver: Driver, sort: Sort, most: usize) -> Result<Vec<Row>, StoreError> {
        let mut sql = Sql::default();
        sql.add(format!("SELECT {}, ", Self::columns(sort)));
        if self.has_others(driver) {
            sql.add("CAST(CASE WHEN 1 = 1");
            self.others(&mut sql, driver);
            sql.add(" THEN 1 ELSE 0 END AS BIGINT) AS hit");
        } else {
            sql.add("CAST(1 AS BIGINT) AS hit");
        }
        self.source(&mut sql, driver);
        sql.add(format!(" LIMIT {}", most + 1));
        load(db, &sql)
    }

    /// How many keys a driver has, up to [`MOST`] + 1, by its index alone.
    fn count(&self, db: &mut Db, driver: Driver) -> Result<usize, StoreError> {
        let mut sql = Sql::default();
        sql.add("SELECT count(*) AS seq, CAST(NULL AS BIGINT) AS expires_at, CAST(NULL AS BIGINT) AS disabled_at, CAST(NULL AS BIGINT) AS revoked_at, CAST(NULL AS BIGINT) AS number, CAST(NULL AS TEXT) AS word, CAST(1 AS BIGINT) AS hit FROM (SELECT 1");
        self.source(&mut sql, driver);
        sql.add(format!(" LIMIT {}) AS counted", MOST + 1));
        Ok(load(db, &sql)?.first().map_or(0, |row| usize::try_from(row.seq).unwrap_or(0)))
    }

    /// The drivers that the filter offers, the one that is likely smallest first.
    fn drivers(&self) -> Vec<Driver> {
        let filter = self.view.filter;
        let offered = [
            (self.owners.is_some(), Driver::Owners),
            (self.needle.is_some(), Driver::Text),
            (filter.used.is_some(), Driver::Used),
            (filter.access.is_some(), Driver::Access),
        ];
        offered.into_iter().filter_map(|(is_set, driver)| is_set.then_some(driver)).collect()
    }

    /// All keys that match the filters but the status, where one of the filters has at most [`MOST`]; else what was read to find out.
    fn complete(&self, db: &mut Db, sort: Sort) -> Result<Gathered, StoreError> {
        let mut sample = None;
        for driver in self.drivers() {
            let mut rows = if driver == Driver::Text {
                let mut rows = self.gather(db, Driver::Text, sort, MOST)?;
                if rows.len() <= MOST && !self.roles.is_empty() {
                    let by_role = self.gather(db, Driver::Roles, sort, MOST)?;
                    rows = if by_role.len() > MOST { by_role } else { merge(rows, by_role) };
                }
                rows
            } else {
                if self.count(db, driver)? > MOST {
                    continue;
                }
                self.gather(db, driver, sort, MOST)?
            };
            let is_all = rows.len() <= MOST;
            rows.retain(|row| row.hit == 1);
            if is_all {
                return Ok(Gathered::All(rows));
            }
            sample = Some(rows);
        }
        Ok(Gathered::Some(sample))
    }

    fn counts_of(&self, rows: &[Row]) -> Counts {
        Tab::ALL.map(|(tab, ..)| Count::capped(rows.iter().filter(|row| row.is_in(tab, self.view)).count()))
    }

    /// Counts of a wide filter: exact bounds by index where only the status counts, else what a sample shows.
    fn wide_counts(&self, db: &mut Db, sample: Option<Vec<Row>>) -> Result<Counts, StoreError> {
        let mut counts = Counts::default();
        let Some(driver) = self.drivers().into_iter().next_back() else {
            for (at, (tab, ..)) in Tab::ALL.into_iter().enumerate() {
                counts[at] = Count::capped(self.status_count(db, tab)?);
            }
            return Ok(counts);
        };
        let rows = match sample {
            Some(rows) => rows,
            None => {
                let most = if self.has_others(driver) { SAMPLE } else { MOST };
                let mut rows = self.gather(db, driver, Sort::Created, most)?;
                rows.retain(|row| row.hit == 1);
                rows
            }
        };
        for (count, (tab, ..)) in counts.iter_mut().zip(Tab::ALL) {
            let number = rows.iter().filter(|row| row.is_in(tab, self.view)).count();
            *count = Count { number: number.min(MOST), or_more: true };
        }
        Ok(counts)
    }

    /// How many keys of the tenant have a status, up to [`MOST`] + 1, whatever the other filters say.
    fn status_count(&self, db: &mut Db, tab: Tab) -> Result<usize, StoreError> {
        if tab != Tab::Active {
            return self.count(db, Driver::Tab(tab));
        }
        // Two stretches of the same index: those without an expiry, and those that expire later.
        let mut sql = Sql::default();
        let now = micros(self.view.now);
        let live = format!("FROM {} WHERE {} AND k.revoked_at IS NULL AND k.disabled_at IS NULL", self.keys("keys_live"), self.tenant());
        let most = MOST + 1;
        sql.add(format!(
            "SELECT (SELECT count(*) FROM (SELECT 1 {live} AND k.expires_at IS NULL LIMIT {most}) AS a) + (SELECT count(*) FROM (SELECT 1 {live} AND k.expires_at > {now} LIMIT {most}) AS b) AS seq, CAST(NULL AS BIGINT) AS expires_at, CAST(NULL AS BIGINT) AS disabled_at, CAST(NULL AS BIGINT) AS revoked_at, CAST(NULL AS BIGINT) AS number, CAST(NULL AS TEXT) AS word, CAST(1 AS BIGINT) AS hit"
        ));
        Ok(load(db, &sql)?.first().map_or(0, |row| usize::try_from(row.seq).unwrap_or(0)))
    }

    /// The next `limit` keys of a wide filter in an order, after a place in it.
    fn stream(&self, db: &mut Db, tab: Tab, order: Order, after: Option<(&Value, i64)>, limit: usize) -> Result<Vec<Row>, StoreError> {
        if self.needle.is_some() {
            let by_text = self.stretch(db, Driver::Text, tab, order, after, limit)?;
            if self.roles.is_empty() {
                return Ok(by_text);
            }
            let mut rows = merge(by_text, self.stretch(db, Driver::Roles, tab, order, after, limit)?);
            rows.sort_by(|a, b| compare(order, (&Value::Empty, a.seq), (&Value::Empty, b.seq)));
            rows.truncate(limit);
            return Ok(rows);
        }
        if order.sort != Sort::Created {
            return self.stretch(db, Driver::Everything, tab, order, after, limit);
        }
        let filter = self.view.filter;
        let driver = match tab {
            Tab::Revoked | Tab::Disabled => Driver::Tab(tab),
            _ if matches!(filter.access, Some(AccessFilter::Role(_) | AccessFilter::Owner | AccessFilter::Scopes)) => Driver::Access,
            _ if filter.used == Some(UsedFilter::Never) => Driver::Used,
            _ if self.owners.as_ref().is_some_and(|owners| owners.len() == 1) => Driver::Owners,
            _ => Driver::Everything,
        };
        if driver == Driver::Everything && filter.used == Some(UsedFilter::NotFor30Days) {
            let rows = self.newest(db, tab, order, after, limit)?;
            return if rows.len() == limit { Ok(rows) } else { self.unused(db, tab, order, after, limit) };
        }
        if driver != Driver::Everything || tab == Tab::All {
            return self.stretch(db, driver, tab, order, after, limit);
        }
        // Those that have expired are often the oldest ones: where the newest keys have too few, the index by expiry has them all.
        let rows = self.newest(db, tab, order, after, limit)?;
        if rows.len() == limit || tab == Tab::Active {
            return if rows.len() == limit { Ok(rows) } else { self.stretch(db, Driver::Everything, tab, order, after, limit) };
        }
        self.stretch(db, Driver::Tab(tab), tab, order, after, limit)
    }

    /// The next keys that were not used for 30 days: those that never were lie in the index by creation, the others do not.
    fn unused(&self, db: &mut Db, tab: Tab, order: Order, after: Option<(&Value, i64)>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let filter = Filter { used: Some(UsedFilter::Never), ..self.view.filter.clone() };
        let view = View { filter: &filter, ..self.view.clone() };
        let never = Query { view: &view, postgres: self.postgres, needle: None, roles: Vec::new(), owners: self.owners.clone() };
        let mut rows = never.stretch(db, Driver::Used, tab, order, after, limit)?;
        rows.extend(self.stretch(db, Driver::UsedLongAgo, tab, order, after, limit)?);
        rows.sort_by(|a, b| compare(order, (&Value::Empty, a.seq), (&Value::Empty, b.seq)));
        rows.truncate(limit);
        Ok(rows)
    }

    /// What the next [`TRY_NEWEST`] keys hold.
    fn newest(&self, db: &mut Db, tab: Tab, order: Order, after: Option<(&Value, i64)>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let mut sql = Sql::default();
        let (direction, sign) = if order.descending { ("DESC", '<') } else { ("ASC", '>') };
        let others = self.has_others(Driver::Everything);
        let wide = if others { ", k.owner_id, k.access_kind, k.access_role_id, k.last_used_at" } else { "" };
        sql.add(format!("SELECT {}, CAST(1 AS BIGINT) AS hit", Self::columns(Sort::Created)));
        sql.add(format!(
            " FROM (SELECT k.seq, k.expires_at, k.disabled_at, k.revoked_at{wide} FROM {} WHERE {}",
            self.keys("keys_by_seq"),
            self.tenant()
        ));
        if let Some((_, seq)) = after {
            sql.add(format!(" AND k.seq {sign} {seq}"));
        }
        let tried = if others { TRY_NEWEST_WHOLE } else { TRY_NEWEST };
        sql.add(format!(" ORDER BY k.seq {direction} LIMIT {tried}) AS k WHERE 1 = 1"));
        if let Some(status) = self.tab(tab) {
            sql.add(format!(" AND {status}"));
        }
        self.others(&mut sql, Driver::Everything);
        sql.add(format!(" ORDER BY k.seq {direction} LIMIT {limit}"));
        load(db, &sql)
    }

    fn stretch(
        &self,
        db: &mut Db,
        driver: Driver,
        tab: Tab,
        order: Order,
        after: Option<(&Value, i64)>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        let phases: &[bool] = if order.sort.may_be_empty() { &[false, true] } else { &[false] };
        for empty in phases {
            // Past the last value, only the empty ones are left.
            if !empty && order.sort.may_be_empty() && matches!(after, Some((Value::Empty, _))) {
                continue;
            }
            let place = after.filter(|(value, _)| !*empty || **value == Value::Empty);
            rows.extend(self.phase(db, driver, tab, order, place, *empty, limit - rows.len())?);
            if rows.len() >= limit {
                break;
            }
        }
        Ok(rows)
    }

    #[allow(clippy::too_many_arguments)]
    fn phase(
        &self,
        db: &mut Db,
        driver: Driver,
        tab: Tab,
        order: Order,
        after: Option<(&Value, i64)>,
        empty: bool,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let (direction, sign) = if order.descending { ("DESC", '<') } else { ("ASC", '>') };
        let column = order.sort.column();
        let mut sql = Sql::default();
        sql.add(format!("SELECT {}, CAST(1 AS BIGINT) AS hit", Self::columns(order.sort)));
        if order.sort == Sort::Created {
            self.source(&mut sql, driver);
        } else {
            sql.add(format!(" FROM {} WHERE {}", self.keys(order.sort.index()), self.tenant()));
        }
        if order.sort.may_be_empty() {
            sql.add(format!(" AND {column} IS {}NULL", if empty { "" } else { "NOT " }));
        }
        // FTS5 walks its rows by their number, and so only if its own is compared.
        let seq = if driver == Driver::Text && !self.postgres { "f.rowid" } else { "k.seq" };
        if let Some((value, at)) = after {
            match value {
                Value::Number(number) if order.sort != Sort::Created => sql.add(format!(" AND ({column}, k.seq) {sign} ({number}, {at})")),
                Value::Text(text) => sql.add(format!(" AND ({column}, k.seq) {sign} (")).bind(text.clone()).add(format!(", {at})")),
                _ => sql.add(format!(" AND {seq} {sign} {at}")),
            };
        }
        if driver != Driver::Tab(tab)
            && let Some(status) = self.tab(tab)
        {
            sql.add(format!(" AND {status}"));
        }
        self.others(&mut sql, driver);
        if order.sort == Sort::Created || empty {
            sql.add(format!(" ORDER BY {seq} {direction}"));
        } else {
            sql.add(format!(" ORDER BY {column} {direction}, k.seq {direction}"));
        }
        sql.add(format!(" LIMIT {limit}"));
        load(db, &sql)
    }
}

fn load(db: &mut Db, sql: &Sql) -> Result<Vec<Row>, StoreError> {
    Ok(per_backend!(db.conn(), |inner| {
        let mut query = diesel::sql_query(&sql.text).into_boxed();
        for bind in &sql.binds {
            query = query.bind::<diesel::sql_types::Text, _>(bind);
        }
        query.load::<Row>(inner)?
    }))
}

/// Both lists, each key once.
fn merge(mut rows: Vec<Row>, more: Vec<Row>) -> Vec<Row> {
    let known: std::collections::HashSet<i64> = rows.iter().map(|row| row.seq).collect();
    rows.extend(more.into_iter().filter(|row| !known.contains(&row.seq)));
    rows
}

/// The access roles of the tenant whose name contains the text; one or two characters match beginnings.
fn matching_roles(db: &mut Db, tenant: TenantId, folded: &str) -> Result<Vec<i64>, StoreError> {
    let roles: Vec<(i64, String)> =
        access_roles::table.filter(access_roles::tenant_id.eq(tenant.number())).select((access_roles::id, access_roles::name)).load(db.conn())?;
    let matches = |name: &str| {
        let name = name.to_lowercase();
        if folded.chars().count() < 3 { name.starts_with(folded) } else { name.contains(folded) }
    };
    Ok(roles.into_iter().filter(|(_, name)| matches(name)).map(|(id, _)| id).collect())
}

/// The order that rows have when read backwards; empty values come first then, so the phases of [`Query::stretch`] turn round.
fn sorted(mut rows: Vec<Row>, order: Order) -> Vec<Row> {
    if order.sort == Sort::Created {
        rows.sort_unstable_by_key(|row| row.seq);
        if order.descending {
            rows.reverse();
        }
    } else {
        rows.sort_by_cached_key(|row| std::cmp::Reverse(row.seq));
        let values: HashMap<i64, Value> = rows.iter().map(|row| (row.seq, row.value(order.sort))).collect();
        rows.sort_by(|a, b| compare(order, (&values[&a.seq], a.seq), (&values[&b.seq], b.seq)));
    }
    rows
}

/// What a page is cut from.
enum Found {
    /// Every key that is shown, in order.
    Complete(Vec<Row>),
    /// Too many to hold.
    Wide,
}

fn find(db: &mut Db, query: &Query<'_>, order: Order) -> Result<(Found, Counts), StoreError> {
    let tab = query.view.filter.tab;
    let sample = match query.complete(db, order.sort)? {
        Gathered::All(mut rows) => {
            let counts = query.counts_of(&rows);
            rows.retain(|row| row.is_in(tab, query.view));
            return Ok((Found::Complete(sorted(rows, order)), counts));
        }
        Gathered::Some(sample) => sample,
    };
    let counts = query.wide_counts(db, sample)?;
    // A status that few keys have is complete, too: its keys may lie anywhere in the order.
    if tab != Tab::All && query.status_count(db, tab)? <= MOST {
        let mut rows = query.gather(db, Driver::Tab(tab), order.sort, MOST)?;
        rows.retain(|row| row.hit == 1);
        let mut counts = counts;
        if let Some(at) = Tab::ALL.iter().position(|(t, ..)| *t == tab) {
            counts[at] = Count::capped(rows.len());
        }
        return Ok((Found::Complete(sorted(rows, order)), counts));
    }
    Ok((Found::Wide, counts))
}

/// One page of `size` keys at a place in the order; the first one without a place.
///
/// # Errors
/// The database is away.
pub fn page(db: &mut Db, view: &View<'_>, order: Order, at: Option<&Cursor>, size: usize) -> Result<Page, StoreError> {
    let query = Query::new(db, view)?;
    let (found, counts) = find(db, &query, order)?;
    let is_complete = matches!(found, Found::Complete(_));
    let sortable = is_complete || query.needle.is_none();
    // A place in another order is none.
    let (order, at) =
        if sortable || order.sort == Sort::Created { (order, at.filter(|cursor| cursor.fits(order.sort))) } else { (Order::default(), None) };
    let (mut rows, mut before, has_before, has_after) = match (&found, at) {
        (Found::Complete(all), _) => cut(all, order, at, size),
        (Found::Wide, Some(cursor)) if !cursor.forward => {
            let mut rows = query.backwards(db, view.filter.tab, order, cursor, size + 1)?;
            let has_before = rows.len() > size;
            rows.truncate(size);
            rows.reverse();
            (rows, cursor.before, has_before, true)
        }
        (Found::Wide, _) => {
            let place = at.map(|cursor| (&cursor.value, cursor.seq));
            let mut rows = query.stream(db, view.filter.tab, order, place, size + 1)?;
            let has_after = rows.len() > size;
            rows.truncate(size);
            (rows, at.map_or(0, |cursor| cursor.before), at.is_some(), has_after)
        }
    };
    if !has_before {
        before = 0;
    }
    // Going back past the beginning: what was there has gone, so the first page is shown whole.
    if at.is_some_and(|cursor| !cursor.forward) && !has_before && rows.len() < size {
        return page(db, view, order, None, size);
    }
    if rows.is_empty() && at.is_some() {
        return page(db, view, order, None, size);
    }
    let count = u64::try_from(rows.len()).unwrap_or(0);
    let next = rows.last().filter(|_| has_after).map(|row| row.cursor(true, before + count, order.sort));
    let previous =
        rows.first().filter(|_| has_before).map(|row| row.cursor(false, before.saturating_sub(u64::try_from(size).unwrap_or(0)), order.sort));
    let seqs: Vec<i64> = rows.drain(..).map(|row| row.seq).collect();
    Ok(Page { keys: by_seq(db, view.reach, &seqs)?, counts, order, sortable, before, next, previous })
}

impl Query<'_> {
    /// The `limit` keys before a place, nearest first: the empty values, which come last, are the first on the way back.
    fn backwards(&self, db: &mut Db, tab: Tab, order: Order, cursor: &Cursor, limit: usize) -> Result<Vec<Row>, StoreError> {
        let turned = Order { sort: order.sort, descending: !order.descending };
        let place = (&cursor.value, cursor.seq);
        if !order.sort.may_be_empty() {
            return self.stream(db, tab, turned, Some(place), limit);
        }
        let mut rows = Vec::new();
        if cursor.value == Value::Empty {
            rows = self.phase(db, Driver::Everything, tab, turned, Some(place), true, limit)?;
        }
        if rows.len() < limit {
            let place = Some(place).filter(|(value, _)| **value != Value::Empty);
            rows.extend(self.phase(db, Driver::Everything, tab, turned, place, false, limit - rows.len())?);
        }
        Ok(rows)
    }
}

/// The page of a complete list at a place: its rows, how many come before, whether there are any before and after.
fn cut(all: &[Row], order: Order, at: Option<&Cursor>, size: usize) -> (Vec<Row>, u64, bool, bool) {
    let place = |cursor: &Cursor| if order.sort == Sort::Created { Value::Number(cursor.seq) } else { cursor.value.clone() };
    let start = match at {
        None => 0,
        Some(cursor) => {
            let value = place(cursor);
            let before = |row: &Row| compare(order, (&row.value(order.sort), row.seq), (&value, cursor.seq));
            if cursor.forward {
                all.partition_point(|row| before(row) != Ordering::Greater)
            } else {
                all.partition_point(|row| before(row) == Ordering::Less).saturating_sub(size)
            }
        }
    };
    let end = all.len().min(start + size);
    (all[start..end].to_vec(), u64::try_from(start).unwrap_or(0), start > 0, end < all.len())
}

/// The keys with these numbers that are in reach, in the order of the numbers.
fn by_seq(db: &mut Db, reach: &Reach, seqs: &[i64]) -> Result<Vec<Key>, StoreError> {
    let mut keys: HashMap<i64, Key> = HashMap::with_capacity(seqs.len());
    // SQLite takes 32 766 values in one statement.
    for part in seqs.chunks(10_000) {
        let rows: Vec<KeyRow> = table::table.filter(table::seq.eq_any(part)).filter(table::tenant_id.eq(reach.tenant().number())).load(db.conn())?;
        for row in rows.into_iter().filter(|row| reach.owners().is_none_or(|owners| owners.contains(&row.owner_id))) {
            keys.insert(row.seq, Key::try_from(row)?);
        }
    }
    Ok(seqs.iter().filter_map(|seq| keys.remove(seq)).collect())
}

/// The numbers of the `most` keys after a place in the order of creation, nearest first: older ones going `forward`, newer ones
/// going back. With the counts by status.
///
/// # Errors
/// The database is away.
pub(super) fn nearest(db: &mut Db, view: &View<'_>, after: Option<i64>, forward: bool, most: usize) -> Result<(Vec<i64>, Counts), StoreError> {
    let query = Query::new(db, view)?;
    let (found, counts) = find(db, &query, Order::default())?;
    let seqs = match found {
        Found::Complete(rows) => {
            let is_after = |seq: &i64| after.is_none_or(|at| if forward { *seq < at } else { *seq > at });
            let mut seqs: Vec<i64> = rows.iter().map(|row| row.seq).filter(is_after).collect();
            if !forward {
                seqs.reverse();
            }
            seqs.truncate(most);
            seqs
        }
        Found::Wide => {
            let order = Order { sort: Sort::Created, descending: forward };
            let place = after.map(|seq| (&Value::Empty, seq));
            query.stream(db, view.filter.tab, order, place, most)?.iter().map(|row| row.seq).collect()
        }
    };
    Ok((seqs, counts))
}

/// A key that matches, for what is done with many: its number and its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// Its place in the order of creation.
    pub seq: i64,
    /// Its status.
    pub status: Status,
}

/// Every key that matches, newest first, however many there are: a few bytes each.
///
/// # Errors
/// The database is away.
pub fn matching(db: &mut Db, view: &View<'_>) -> Result<Vec<Match>, StoreError> {
    let status = |row: &Row| {
        let found = [Tab::Revoked, Tab::Disabled, Tab::Expired].into_iter().find(|tab| row.is_in(*tab, view));
        match found {
            Some(Tab::Revoked) => Status::Revoked,
            Some(Tab::Disabled) => Status::Disabled,
            Some(_) => Status::Expired,
            None => Status::Active,
        }
    };
    Ok(all(db, view, Order::default())?.iter().map(|row| Match { seq: row.seq, status: status(row) }).collect())
}

/// The numbers of every key that matches, in an order; where more than 10 000 match, by creation.
///
/// # Errors
/// The database is away.
pub fn in_order(db: &mut Db, view: &View<'_>, order: Order) -> Result<Vec<i64>, StoreError> {
    Ok(all(db, view, order)?.iter().map(|row| row.seq).collect())
}

fn all(db: &mut Db, view: &View<'_>, order: Order) -> Result<Vec<Row>, StoreError> {
    const BATCH: usize = 5_000;
    let query = Query::new(db, view)?;
    if let (Found::Complete(rows), _) = find(db, &query, order)? {
        return Ok(rows);
    }
    let order = if order.sort == Sort::Created { order } else { Order::default() };
    let mut all: Vec<Row> = Vec::new();
    loop {
        let after = all.last().map(|last| last.seq);
        let rows = query.stream(db, view.filter.tab, order, after.map(|seq| (&Value::Empty, seq)), BATCH)?;
        let is_last = rows.len() < BATCH;
        all.extend(rows);
        if is_last {
            return Ok(all);
        }
    }
}

/// The keys with these numbers, in that order, as far as they are in reach.
///
/// # Errors
/// The database is away.
pub fn keys(db: &mut Db, reach: &Reach, seqs: &[i64]) -> Result<Vec<Key>, StoreError> {
    by_seq(db, reach, seqs)
}

/// The accepted and refused requests of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Day {
    /// Accepted.
    pub accepted: i64,
    /// Refused.
    pub refused: i64,
}

/// The last 30 days of a key, oldest first; the last one is the current 24 hours.
pub type Month = [Day; 30];

#[derive(QueryableByName)]
struct UsageRow {
    #[diesel(sql_type = diesel::sql_types::Text)]
    key_id: String,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    day: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    accepted: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    refused: i64,
}

/// The use of these keys in the last 30 days.
///
/// # Errors
/// The database is away.
pub fn usage(db: &mut Db, tenant: TenantId, ids: &[KeyId], now: Time) -> Result<HashMap<KeyId, Month>, StoreError> {
    let mut months = HashMap::new();
    if ids.is_empty() {
        return Ok(months);
    }
    let from = now.timestamp() / 3600 - 30 * 24 + 1;
    // Key IDs are letters and digits by their type.
    let list = ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
    let sql = format!(
        "SELECT key_id, (hour - {from}) / 24 AS day, CAST(sum(accepted) AS BIGINT) AS accepted, CAST(sum(refused) AS BIGINT) AS refused FROM key_usage WHERE tenant_id = {} AND key_id IN ({list}) AND hour >= {from} GROUP BY key_id, (hour - {from}) / 24",
        tenant.number()
    );
    for row in diesel::sql_query(sql).load::<UsageRow>(db.conn())? {
        if let Some(id) = KeyId::parse(&row.key_id) {
            let month: &mut Month = months.entry(id).or_default();
            if let Some(day) = usize::try_from(row.day).ok().and_then(|day| month.get_mut(day)) {
                *day = Day { accepted: row.accepted, refused: row.refused };
            }
        }
    }
    Ok(months)
}

/// How many keys there are by status.
///
/// # Errors
/// The database is away.
pub fn counts(db: &mut Db, view: &View<'_>) -> Result<Counts, StoreError> {
    let query = Query::new(db, view)?;
    match query.complete(db, Sort::Created)? {
        Gathered::All(rows) => Ok(query.counts_of(&rows)),
        Gathered::Some(sample) => query.wide_counts(db, sample),
    }
}

/// When the keys in reach expire that are active and do so before `until`, soonest first; at most [`MOST`].
///
/// # Errors
/// The database is away.
pub fn expiries(db: &mut Db, reach: &Reach, now: Time, until: Time) -> Result<Vec<Time>, StoreError> {
    let mut query = table::table
        .filter(table::tenant_id.eq(reach.tenant().number()).and(table::revoked_at.is_null()).and(table::disabled_at.is_null()))
        .filter(table::expires_at.gt(micros(now)).and(table::expires_at.lt(micros(until))))
        .select(table::expires_at.assume_not_null())
        .order(table::expires_at)
        .limit(10_000)
        .into_boxed();
    if let Some(owners) = reach.owners() {
        query = query.filter(table::owner_id.eq_any(owners.to_vec()));
    }
    Ok(query.load::<i64>(db.conn())?.into_iter().map(moment).collect())
}
