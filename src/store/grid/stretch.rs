//! A wide filter, a stretch of an index at a time.

use super::{
    View,
    filter::{AccessFilter, Cursor, Filter, Order, Sort, Tab, UsedFilter, Value},
    query::{Driver, Query, Sql, load},
    row::{Row, compare, merge},
};
use crate::store::{Db, StoreError, micros};

/// How many of the newest keys are tried for a status before its own index is sorted.
const TRY_NEWEST: usize = 60_000;
/// The same where each has to be read whole.
const TRY_NEWEST_WHOLE: usize = 3_000;

impl Query<'_> {
    /// The next `limit` keys of a wide filter in an order, after a place in it.
    pub(super) fn stream(&self, db: &mut Db, tab: Tab, order: Order, after: Option<(&Value, i64)>, limit: usize) -> Result<Vec<Row>, StoreError> {
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
        sql.add(format!("SELECT {}, CAST(1 AS BIGINT) AS hit", self.columns(Driver::Everything, Sort::Created)));
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
        let column = format!("k.{}", order.sort.column());
        let mut sql = Sql::default();
        sql.add(format!("SELECT {}, CAST(1 AS BIGINT) AS hit", self.columns(driver, order.sort)));
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
            // Said once more without the "or never", or the index is walked past all that have expired.
            if tab == Tab::Active && order.sort == Sort::Expires && !empty {
                sql.add(format!(" AND {column} > {}", micros(self.view.now)));
            }
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

    /// The `limit` keys before a place, nearest first: the empty values, which come last, are the first on the way back.
    pub(super) fn backwards(&self, db: &mut Db, tab: Tab, order: Order, cursor: &Cursor, limit: usize) -> Result<Vec<Row>, StoreError> {
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
