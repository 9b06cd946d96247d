//! Rows as queries give them, and their order.

use std::{cmp::Ordering, collections::HashMap};

use diesel::prelude::*;

use super::{
    View,
    filter::{Cursor, Order, Sort, Tab, Value},
};
use crate::{
    domain::key::{Life, Status},
    store::moment,
};

/// A key with what its status needs and its value in the order.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct Row {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(super) seq: i64,
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::BigInt>)]
    pub(super) expires_at: Option<i64>,
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::BigInt>)]
    pub(super) disabled_at: Option<i64>,
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::BigInt>)]
    pub(super) revoked_at: Option<i64>,
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::BigInt>)]
    pub(super) number: Option<i64>,
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::Text>)]
    pub(super) word: Option<String>,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(super) hit: i64,
}

impl Row {
    pub(super) fn is_in(&self, tab: Tab, view: &View<'_>) -> bool {
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

    pub(super) fn value(&self, sort: Sort) -> Value {
        match (&self.word, self.number) {
            _ if sort == Sort::Created => Value::Number(self.seq),
            (Some(text), _) => Value::Text(text.clone()),
            (None, Some(number)) => Value::Number(number),
            (None, None) => Value::Empty,
        }
    }

    pub(super) fn cursor(&self, forward: bool, before: u64, sort: Sort) -> Cursor {
        let value = if sort == Sort::Created { Value::Empty } else { self.value(sort) };
        Cursor { forward, before, seq: self.seq, value }
    }
}

pub(super) fn compare(order: Order, a: (&Value, i64), b: (&Value, i64)) -> Ordering {
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

/// Both lists, each key once.
pub(super) fn merge(mut rows: Vec<Row>, more: Vec<Row>) -> Vec<Row> {
    let known: std::collections::HashSet<i64> = rows.iter().map(|row| row.seq).collect();
    rows.extend(more.into_iter().filter(|row| !known.contains(&row.seq)));
    rows
}

/// The order that rows have when read backwards; empty values come first then, so the phases of [`Query::stretch`] turn round.
pub(super) fn sorted(mut rows: Vec<Row>, order: Order) -> Vec<Row> {
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
