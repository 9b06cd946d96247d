//! The queries of a filter: which index drives them, what is complete, and how many keys there are.

use diesel::prelude::*;

use super::{
    MOST, View,
    count::{Count, Counts},
    filter::{AccessFilter, Sort, Tab, UsedFilter},
    row::{Row, merge},
    sample::Sample,
};
use crate::{
    domain::{ids::TenantId, time::days},
    store::{Db, StoreError, micros, per_backend, schema::access_roles},
};

/// How many keys of a wide filter are looked at for its lower bounds of counts.
const SAMPLE: usize = 2_000;

/// A statement in the making. Values are bound in the order in which they stand in the text, which both databases number alike.
#[derive(Debug, Clone, Default)]
pub(super) struct Sql {
    pub(super) text: String,
    pub(super) binds: Vec<String>,
}

impl Sql {
    pub(super) fn add(&mut self, text: impl AsRef<str>) -> &mut Self {
        self.text.push_str(text.as_ref());
        self
    }

    pub(super) fn bind(&mut self, value: impl Into<String>) -> &mut Self {
        self.binds.push(value.into());
        let place = format!("${}", self.binds.len());
        self.add(place)
    }
}

/// What all queries of one view have in common.
pub(super) struct Query<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) postgres: bool,
    pub(super) needle: Option<String>,
    /// The access roles whose name matches the text.
    pub(super) roles: Vec<i64>,
    /// Whose keys; `None` is everybody's.
    pub(super) owners: Option<Vec<i64>>,
}

/// What was found on the way to all keys of a filter.
pub(super) enum Gathered {
    /// Every one.
    All(Vec<Row>),
    /// Too many; some of them, where the text was looked for.
    Some(Option<Sample>),
}

/// What a gathering starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driver {
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

pub(super) fn numbers(list: &[i64]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

impl<'a> Query<'a> {
    pub(super) fn new(db: &mut Db, view: &'a View<'a>) -> Result<Self, StoreError> {
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
    pub(super) fn keys(&self, index: &str) -> String {
        if self.postgres { "keys k".into() } else { format!("keys k INDEXED BY {index}") }
    }

    pub(super) fn tenant(&self) -> String {
        format!("k.tenant_id = {}", self.view.reach.tenant().number())
    }

    fn in_owners(&self) -> Option<String> {
        self.owners.as_ref().map(|owners| if owners.is_empty() { "1 = 0".into() } else { format!("k.owner_id IN ({})", numbers(owners)) })
    }

    pub(super) fn access(&self) -> Option<String> {
        Some(match self.view.filter.access? {
            AccessFilter::Owner => "k.access_kind = 'owner'".into(),
            AccessFilter::Scopes => "k.access_kind = 'scopes'".into(),
            AccessFilter::Role(id) => format!("k.access_role_id = {id}"),
        })
    }

    fn used(&self, driver: Driver) -> Option<String> {
        let used = self.column(driver, "last_used_at");
        Some(match self.view.filter.used? {
            UsedFilter::Never => format!("{used} IS NULL"),
            UsedFilter::NotFor30Days => format!("({used} IS NULL OR {used} < {})", micros(self.view.now - days(30))),
        })
    }

    /// A column of a key that PostgreSQL's table of texts does not have.
    fn column(&self, driver: Driver, name: &str) -> String {
        if self.postgres && driver == Driver::Text {
            format!("(SELECT whole.{name} FROM keys whole WHERE whole.tenant_id = k.tenant_id AND whole.seq = k.seq)")
        } else {
            format!("k.{name}")
        }
    }

    pub(super) fn tab(&self, tab: Tab) -> Option<String> {
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
    pub(super) fn others(&self, sql: &mut Sql, driver: Driver) {
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
            && let Some(used) = self.used(driver)
        {
            sql.add(format!(" AND {used}"));
        }
        if !matches!(driver, Driver::Text | Driver::Roles) {
            self.text_of_row(sql);
        }
    }

    pub(super) fn has_others(&self, driver: Driver) -> bool {
        let mut sql = Sql::default();
        self.others(&mut sql, driver);
        !sql.text.is_empty()
    }

    /// `FROM … WHERE …` of a driver.
    pub(super) fn source(&self, sql: &mut Sql, driver: Driver) {
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
                let used = self.used(driver).unwrap_or_else(|| "1 = 1".into());
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
                    sql.add(format!(" FROM keys_search k WHERE {tenant} AND k.search LIKE ")).bind(format!("%{needle}%"));
                } else {
                    // The index over the text knows no tenants: the small index by creation says whose a match is.
                    let index = if self.has_others(driver) { "keys k" } else { "keys k INDEXED BY keys_by_seq" };
                    sql.add(format!(" FROM keys_search f CROSS JOIN {index} ON k.seq = f.rowid AND {tenant} WHERE f.search MATCH "));
                    sql.bind(format!("\"{needle}\""));
                }
            }
        }
    }

    pub(super) fn columns(&self, driver: Driver, sort: Sort) -> String {
        let (number, word) = ("CAST(NULL AS BIGINT)".to_owned(), "CAST(NULL AS TEXT)".to_owned());
        let (number, word) = match sort {
            Sort::Created => (number, word),
            _ if sort.is_text() => (number, self.column(driver, sort.column())),
            _ => (self.column(driver, sort.column()), word),
        };
        format!(
            "k.seq AS seq, k.expires_at AS expires_at, k.disabled_at AS disabled_at, k.revoked_at AS revoked_at, {number} AS number, {word} AS word"
        )
    }

    /// `hit`, 1 where a row matches the filters that the driver does not see to.
    pub(super) fn hit(&self, sql: &mut Sql, driver: Driver) {
        if self.has_others(driver) {
            sql.add("CAST(CASE WHEN 1 = 1");
            self.others(sql, driver);
            sql.add(" THEN 1 ELSE 0 END AS BIGINT) AS hit");
        } else {
            sql.add("CAST(1 AS BIGINT) AS hit");
        }
    }

    /// Up to `most` + 1 keys of a driver, with `hit` = 1 where they match the other filters, too.
    pub(super) fn gather(&self, db: &mut Db, driver: Driver, sort: Sort, most: usize) -> Result<Vec<Row>, StoreError> {
        let mut sql = Sql::default();
        sql.add(format!("SELECT {}, ", self.columns(driver, sort)));
        self.hit(&mut sql, driver);
        self.source(&mut sql, driver);
        sql.add(format!(" LIMIT {}", most + 1));
        load(db, &sql)
    }

    /// How many keys a driver has, up to [`MOST`] + 1, by its index alone.
    pub(super) fn count(&self, db: &mut Db, driver: Driver) -> Result<usize, StoreError> {
        let mut sql = Sql::default();
        sql.add("SELECT count(*) AS seq, CAST(NULL AS BIGINT) AS expires_at, CAST(NULL AS BIGINT) AS disabled_at, CAST(NULL AS BIGINT) AS revoked_at, CAST(NULL AS BIGINT) AS number, CAST(NULL AS TEXT) AS word, CAST(1 AS BIGINT) AS hit FROM (SELECT 1");
        self.source(&mut sql, driver);
        sql.add(format!(" LIMIT {}) AS counted", MOST + 1));
        Ok(load(db, &sql)?.first().map_or(0, |row| usize::try_from(row.seq).unwrap_or(0)))
    }

    /// The drivers that the filter offers, the one that is likely smallest first.
    pub(super) fn drivers(&self) -> Vec<Driver> {
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
    pub(super) fn complete(&self, db: &mut Db, sort: Sort) -> Result<Gathered, StoreError> {
        let mut sample = None;
        for driver in self.drivers() {
            let mut rows = if driver == Driver::Text {
                if let Some(mut wide) = self.sample(db, sort)? {
                    wide.rows.retain(|row| row.hit == 1);
                    sample = Some(wide);
                    continue;
                }
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
            sample = Some(Sample::first(rows));
        }
        Ok(Gathered::Some(sample))
    }

    pub(super) fn counts_of(&self, rows: &[Row]) -> Counts {
        Tab::ALL.map(|(tab, ..)| Count::capped(rows.iter().filter(|row| row.is_in(tab, self.view)).count()))
    }

    /// Counts of a wide filter: exact bounds by index where only the status counts, else what a sample shows.
    pub(super) fn wide_counts(&self, db: &mut Db, sample: Option<Sample>) -> Result<Counts, StoreError> {
        let mut counts = Counts::default();
        let Some(driver) = self.drivers().into_iter().next_back() else {
            for (at, (tab, ..)) in Tab::ALL.into_iter().enumerate() {
                counts[at] = Count::capped(self.status_count(db, tab)?);
            }
            return Ok(counts);
        };
        let sample = match sample {
            Some(sample) => sample,
            None => {
                let most = if self.has_others(driver) { SAMPLE } else { MOST };
                let mut rows = self.gather(db, driver, Sort::Created, most)?;
                rows.retain(|row| row.hit == 1);
                Sample::first(rows)
            }
        };
        for (count, (tab, ..)) in counts.iter_mut().zip(Tab::ALL) {
            *count = sample.at_least(sample.rows.iter().filter(|row| row.is_in(tab, self.view)).count());
        }
        Ok(counts)
    }

    /// How many keys of the tenant have a status, up to [`MOST`] + 1, whatever the other filters say.
    pub(super) fn status_count(&self, db: &mut Db, tab: Tab) -> Result<usize, StoreError> {
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
}

pub(super) fn load(db: &mut Db, sql: &Sql) -> Result<Vec<Row>, StoreError> {
    Ok(per_backend!(db.conn(), |inner| {
        let mut query = diesel::sql_query(&sql.text).into_boxed();
        for bind in &sql.binds {
            query = query.bind::<diesel::sql_types::Text, _>(bind);
        }
        query.load::<Row>(inner)?
    }))
}

/// The access roles of the tenant whose name contains the text; one or two characters match beginnings.
pub(super) fn matching_roles(db: &mut Db, tenant: TenantId, folded: &str) -> Result<Vec<i64>, StoreError> {
    let roles: Vec<(i64, String)> =
        access_roles::table.filter(access_roles::tenant_id.eq(tenant.number())).select((access_roles::id, access_roles::name)).load(db.conn())?;
    let matches = |name: &str| {
        let name = name.to_lowercase();
        if folded.chars().count() < 3 { name.starts_with(folded) } else { name.contains(folded) }
    };
    Ok(roles.into_iter().filter(|(_, name)| matches(name)).map(|(id, _)| id).collect())
}
