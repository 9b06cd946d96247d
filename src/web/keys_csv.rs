//! Export of all keys that match, as CSV: written batch by batch as the client reads, so that a million rows need no memory.
//! No cell can start a formula in a spreadsheet, and no secret or hash is in it.

use std::{
    collections::HashMap,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodySize, MessageBody},
    http::header,
    web::Bytes,
};
use tokio::sync::mpsc;

use super::{error::WebError, form::Form, key_view, keys_query::KeysQuery, page::WebResult, session::Member};
use crate::{
    domain::{
        access::KeyAccess,
        event::Action,
        ids::{AccessRoleId, MemberId},
        key::Key,
        time::{Time, days},
    },
    store::{
        Db, StoreError, access, events,
        grid::{self, View},
        members::{self, Acting, Owner, Reach},
    },
};

/// How many keys are read at a time.
const BATCH: usize = 500;

const HEADINGS: [&str; 23] = [
    "id",
    "name",
    "comment",
    "owner",
    "owner_email",
    "status",
    "notes",
    "access",
    "scopes",
    "resources",
    "ip_ranges",
    "notice_recipients",
    "created_at",
    "changed_at",
    "expires_at",
    "remaining_days",
    "works_until",
    "last_used_at",
    "last_used_ip",
    "accepted_30_days",
    "refused_30_days",
    "revoke_reason",
    "disable_reason",
];

/// A cell that no spreadsheet takes for a formula: what could start one gets a quote in front.
pub(super) fn cell(text: &str) -> String {
    const STARTS: [char; 12] = ['=', '+', '-', '@', '\t', '\r', '\n', '\u{FF1D}', '\u{FF0B}', '\u{FF0D}', '\u{FF20}', '\0'];
    // Spaces in front do not keep a spreadsheet from a formula.
    let first = text.chars().find(|c| STARTS.contains(c) || !c.is_whitespace());
    let quote = if first.is_some_and(|c| STARTS.contains(&c)) { "'" } else { "" };
    // Readers stop at a NUL, or refuse the file.
    format!("{quote}{}", text.replace('\0', ""))
}

/// `GET …/keys.csv`
///
/// # Errors
/// See [`WebError`].
pub async fn export(member: Member, req: HttpRequest) -> WebResult {
    let query = KeysQuery::read(&Form::from_query(&req)?);
    let filter = query.words();
    let tenant = member.acting.tenant.id;
    let noted: Result<(), StoreError> = member
        .write(move |tx, by| {
            events::add(tx, tenant, &by.event(Action::KeyExported, ("", "", ""), serde_json::json!({ "format": "csv", "filter": filter })))
        })
        .await;
    noted.map_err(WebError::from)?;
    let (sender, receiver) = mpsc::channel(2);
    let (store, acting, reach, now) = (member.site.store.clone(), member.acting.clone(), member.acting.reach(), member.site.clock.now());
    tokio::task::spawn_blocking(move || {
        let view = View { reach: &reach, filter: &query.filter, now, soon: acting.tenant.settings.expiring_soon() };
        // Which keys it is about, and in which order, is settled once: what changes meanwhile neither drops a row nor doubles one.
        let all: Result<Vec<i64>, StoreError> = store.read(|db| grid::in_order(db, &view, query.order));
        let send = |bytes: Result<Bytes, StoreError>| {
            let bytes = bytes.map_err(|error| {
                tracing::warn!(%error, "an export ended early");
                std::io::Error::other("the database is away")
            });
            let goes_on = bytes.is_ok();
            sender.blocking_send(bytes).is_ok() && goes_on
        };
        match all {
            Ok(all) => {
                if send(lines(std::iter::once(HEADINGS.map(str::to_owned).to_vec()))) {
                    // A connection is held for one batch, not for as long as the client takes to read.
                    let _ = all.chunks(BATCH).all(|seqs| send(store.read(|db| batch(db, &acting, &reach, seqs, now))));
                }
            }
            Err(error) => {
                send(Err(error));
            }
        }
    });
    let name = format!("keys-{}-{}.csv", member.acting.tenant.slug, now.format("%Y-%m-%d"));
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(Stream(receiver)))
}

/// A body that is written while it is read.
pub(super) struct Stream(pub(super) mpsc::Receiver<Result<Bytes, std::io::Error>>);

impl MessageBody for Stream {
    type Error = std::io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.0.poll_recv(cx)
    }
}

fn batch(db: &mut Db, acting: &Acting, reach: &Reach, seqs: &[i64], now: Time) -> Result<Bytes, StoreError> {
    let keys = grid::keys(db, reach, seqs)?;
    let mut ids: Vec<MemberId> = keys.iter().map(|key| key.owner).collect();
    ids.sort_unstable();
    ids.dedup();
    let owners: HashMap<MemberId, Owner> = members::find_many(db, acting.tenant.id, &ids)?.into_iter().map(|owner| (owner.id, owner)).collect();
    let roles: HashMap<AccessRoleId, String> = access::roles(db, acting.tenant.id)?.into_iter().map(|role| (role.id, role.name)).collect();
    let months = grid::usage(db, acting.tenant.id, &keys.iter().map(|key| key.id).collect::<Vec<_>>(), now)?;
    lines(keys.iter().map(|key| {
        let use_of_key =
            months.get(&key.id).map_or((0, 0), |month| month.iter().fold((0, 0), |sum, day| (sum.0 + day.accepted, sum.1 + day.refused)));
        record(key, owners.get(&key.owner), &roles, use_of_key, acting, now)
    }))
}

/// Records as CSV (RFC 4180).
fn lines(records: impl Iterator<Item = Vec<String>>) -> Result<Bytes, StoreError> {
    let broken = |error: &dyn std::fmt::Display| StoreError::Row(error.to_string());
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for record in records {
        writer.write_record(record).map_err(|error| broken(&error))?;
    }
    Ok(writer.into_inner().map_err(|error| broken(&error))?.into())
}

fn record(
    key: &Key,
    owner: Option<&Owner>,
    roles: &HashMap<AccessRoleId, String>,
    (accepted, refused): (i64, i64),
    acting: &Acting,
    now: Time,
) -> Vec<String> {
    let moment = |at: Option<Time>| at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)).unwrap_or_default();
    let (access, scopes) = match &key.access {
        KeyAccess::Owner => ("Same as owner".to_owned(), String::new()),
        KeyAccess::Role(id) => (roles.get(id).cloned().unwrap_or_default(), String::new()),
        KeyAccess::Scopes(scopes) => {
            ("Chosen scopes".to_owned(), scopes.iter().map(crate::domain::names::Scope::as_str).collect::<Vec<_>>().join(" "))
        }
    };
    let tenant = &acting.tenant;
    let view = key_view::status(&key.life, tenant, owner.is_some_and(Owner::is_active), now);
    let notes: Vec<&str> = view.markers.iter().map(|marker| marker.words.as_str()).collect();
    let remaining = key.life.expires_at.map(|end| ((end - now).num_seconds().max(0) / days(1).num_seconds()).to_string());
    let cells = [
        key.id.to_string(),
        key.name.to_string(),
        key.comment.clone(),
        owner.map(|owner| owner.name.clone()).unwrap_or_default(),
        owner.map(|owner| owner.email.clone()).unwrap_or_default(),
        view.word.to_owned(),
        notes.join(", "),
        access,
        scopes,
        key.resources.chosen().map_or_else(|| "all of the owner's".into(), |set| set.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
        key.ip_ranges.texts().join(" "),
        key.notice_recipients.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        moment(Some(key.created_at)),
        moment(Some(key.changed_at)),
        moment(key.life.expires_at),
        remaining.unwrap_or_default(),
        moment(key.life.works_until(&tenant.grace, now)),
        moment(key.last_used.as_ref().map(|used| used.at)),
        key.last_used.as_ref().and_then(|used| used.ip.clone()).unwrap_or_default(),
        accepted.to_string(),
        refused.to_string(),
        key.revoke_reason.clone(),
        key.disable_reason.clone(),
    ];
    cells.iter().map(|text| cell(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn no_cell_starts_a_formula() {
        for start in ["=", "+", "-", "@", "\t", "\r", "\n", "\u{FF1D}", "\u{FF0B}", "\u{FF0D}", "\u{FF20}"] {
            assert_eq!(cell(&format!("{start}1+1")), format!("'{start}1+1"));
            assert_eq!(cell(&format!("  {start}1+1")), format!("'  {start}1+1"));
        }
        assert_eq!(cell("\0=1"), "'=1");
        assert_eq!(cell("a=1, \"b\""), "a=1, \"b\"");
        assert_eq!(cell(""), "");
    }
}
