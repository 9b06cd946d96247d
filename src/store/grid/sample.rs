//! Some of the keys of a wide filter, and what they say of how many there are.

use diesel::prelude::*;

use super::{
    MOST,
    count::Count,
    filter::Sort,
    query::{Driver, Query, Sql, load},
    row::Row,
};
use crate::store::{Db, StoreError};

/// How many pages of the table of texts are looked at.
const PAGES: i64 = 300;
/// Of how many keys that a sample comes to one is sure: those of a text may lie together on few pages.
const SURE_OF_ONE_IN: i64 = 3;

/// Some of the keys of a wide filter.
pub(super) struct Sample {
    pub(super) rows: Vec<Row>,
    /// Of how many pages [`PAGES`] were looked at; `None` where the rows are the first that were found.
    pages: Option<i64>,
}

#[derive(QueryableByName)]
struct Size {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pages: i64,
}

impl Sample {
    /// The first keys that were found.
    pub(super) fn first(rows: Vec<Row>) -> Self {
        Self { rows, pages: None }
    }

    /// How many keys there are at least, where so many of the sample are such.
    pub(super) fn at_least(&self, rows: usize) -> Count {
        let sure = self.pages.map_or(0, |pages| rows.saturating_mul(usize::try_from(pages / (PAGES * SURE_OF_ONE_IN)).unwrap_or(0)));
        // One digit says that it is no exact number.
        let digit = 10_usize.pow(sure.checked_ilog10().unwrap_or(0));
        Count { number: rows.max(sure / digit * digit).min(MOST), or_more: true }
    }
}

impl Query<'_> {
    /// Keys of the text from pages picked at random, where they show that there are more than [`MOST`].
    ///
    /// To count ten thousand rows, `PostgreSQL` reads each of them, whatever its index says.
    pub(super) fn sample(&self, db: &mut Db, sort: Sort) -> Result<Option<Sample>, StoreError> {
        let Some(needle) = self.needle.as_ref().filter(|_| self.postgres) else { return Ok(None) };
        let Size { pages } = diesel::sql_query("SELECT pg_relation_size('keys_search') / 8192 AS pages").get_result(db.conn())?;
        if pages < PAGES * SURE_OF_ONE_IN {
            return Ok(None);
        }
        let mut sql = Sql::default();
        sql.add(format!("SELECT {}, ", self.columns(Driver::Text, sort)));
        self.hit(&mut sql, Driver::Text);
        // Always the same pages: a number must not change because somebody looks again.
        sql.add(format!(
            " FROM keys_search k TABLESAMPLE SYSTEM (100.0 * {PAGES} / {pages}) REPEATABLE (1) WHERE {} AND k.search LIKE ",
            self.tenant()
        ));
        sql.bind(format!("%{needle}%"));
        let sample = Sample { rows: load(db, &sql)?, pages: Some(pages) };
        let is_wide = sample.at_least(sample.rows.len()).number == MOST;
        Ok(is_wide.then_some(sample))
    }
}
