//! The lines of a digest: what stands in it, and what the mail said of each once it was sent or tried.

use std::collections::BTreeMap;

use chrono::DateTime;
use diesel::prelude::*;

use crate::{
    domain::{
        ids::{KeyId, MailId, NoticeId, TenantId},
        mail::{Line, Role, Shown},
        time::Time,
    },
    store::{Db, StoreError, Tx, micros, moment, schema::notices},
};

/// A line of a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The line; its extend link is derived from it.
    pub id: NoticeId,
    /// The digest that it stands in.
    pub mail: MailId,
    /// The key's tenant.
    pub tenant: TenantId,
    /// The key.
    pub key: KeyId,
    /// The stored word of the stage.
    pub stage: String,
    /// The expiry that it tells of.
    pub expires_at: Time,
    /// The recipient's address, folded.
    pub recipient: String,
    /// Why the recipient gets it.
    pub role: Role,
    /// When it was written.
    pub created_at: Time,
    /// When its cause had gone before it left.
    pub dropped_at: Option<Time>,
    /// What the mail said of the key, as JSON, once it was sent or tried.
    pub shown: Option<String>,
}

type NoticeValues = ((i64, i64, i64, String, String), (i64, String, String, i64, Option<i64>, Option<String>));

const NOTICE: (
    (notices::id, notices::mail_id, notices::tenant_id, notices::key_id, notices::stage),
    (notices::expires_at, notices::recipient_folded, notices::role, notices::created_at, notices::dropped_at, notices::shown),
) = (
    (notices::id, notices::mail_id, notices::tenant_id, notices::key_id, notices::stage),
    (notices::expires_at, notices::recipient_folded, notices::role, notices::created_at, notices::dropped_at, notices::shown),
);

fn notice((what, rest): NoticeValues) -> Result<Notice, StoreError> {
    Ok(Notice {
        id: NoticeId(what.0),
        mail: MailId(what.1),
        tenant: TenantId::from_row(what.2),
        key: KeyId::parse(&what.3).ok_or_else(|| StoreError::Row("the key of a notice".into()))?,
        stage: what.4,
        expires_at: DateTime::from_timestamp_micros(rest.0).unwrap_or_default(),
        recipient: rest.1,
        role: Role::of_word(&rest.2).ok_or_else(|| StoreError::Row("the role of a recipient".into()))?,
        created_at: moment(rest.3),
        dropped_at: rest.4.map(moment),
        shown: rest.5,
    })
}

/// The lines of a digest.
///
/// # Errors
/// The database is away.
pub fn notices_of(db: &mut Db, mail: MailId) -> Result<Vec<Notice>, StoreError> {
    let rows: Vec<NoticeValues> = notices::table.filter(notices::mail_id.eq(mail.0)).order(notices::id).select(NOTICE).load(db.conn())?;
    let read = rows.into_iter().filter_map(|values| {
        let id = values.0.0;
        notice(values).inspect_err(|error| tracing::warn!(notice = id, %error, "a line of a digest cannot be read and is left out")).ok()
    });
    Ok(read.collect())
}

/// The line that an extend link stands for; the caller has made sure that the link is the one derived from it.
///
/// # Errors
/// The database is away.
pub fn notice_of_link(db: &mut Db, id: NoticeId) -> Result<Option<Notice>, StoreError> {
    let found: Option<NoticeValues> = notices::table.find(id.0).select(NOTICE).first(db.conn()).optional()?;
    found.map(notice).transpose()
}

/// Keeps what a mail says of keys, and which of its notices were dropped.
///
/// # Errors
/// The database is away.
pub fn set_shown(tx: &mut Tx<'_>, lines: &[(NoticeId, Shown)]) -> Result<(), StoreError> {
    let now = micros(tx.now());
    let (mut counted, mut gone) = (Vec::new(), Vec::new());
    for (id, shown) in lines {
        match shown {
            Shown::Full(line) => {
                let text = serde_json::to_string(line).map_err(|error| StoreError::Row(error.to_string()))?;
                diesel::update(notices::table.find(id.0)).set((notices::shown.eq(text), notices::dropped_at.eq(None::<i64>))).execute(tx.conn())?;
            }
            Shown::Counted => counted.push(id.0),
            Shown::Gone => gone.push(id.0),
        }
    }
    for some in counted.chunks(500) {
        diesel::update(notices::table.filter(notices::id.eq_any(some)))
            .set((notices::shown.eq(COUNTED), notices::dropped_at.eq(None::<i64>)))
            .execute(tx.conn())?;
    }
    for some in gone.chunks(500) {
        diesel::update(notices::table.filter(notices::id.eq_any(some)))
            .set((notices::shown.eq(None::<String>), notices::dropped_at.eq(now)))
            .execute(tx.conn())?;
    }
    Ok(())
}

/// What is kept of a line that was only counted: JSON, as of those that were shown.
const COUNTED: &str = "null";

/// What became of a line of a mail that was sent or tried; `None` where it was never worked out.
pub fn shown(notice: &Notice) -> Option<Shown> {
    if notice.dropped_at.is_some() {
        return Some(Shown::Gone);
    }
    // What a newer version wrote is counted at least.
    let line = notice.shown.as_deref()?;
    Some(serde_json::from_str::<Line>(line).map_or(Shown::Counted, |line| Shown::Full(Box::new(line))))
}

/// How many lines each of these digests has that were not dropped.
///
/// # Errors
/// The database is away.
pub fn sizes(db: &mut Db, digests: &[MailId]) -> Result<BTreeMap<MailId, i64>, StoreError> {
    let ids: Vec<i64> = digests.iter().map(|id| id.0).collect();
    let rows: Vec<(i64, i64)> = notices::table
        .filter(notices::mail_id.eq_any(ids).and(notices::dropped_at.is_null()))
        .group_by(notices::mail_id)
        .select((notices::mail_id, diesel::dsl::count_star()))
        .load(db.conn())?;
    Ok(rows.into_iter().map(|(id, count)| (MailId(id), count)).collect())
}
