//! The Mail page: what was sent, what waits, what failed and why; and each mail without the links that only its recipient may use.
//! Of a mail about keys that the reader may not see, recipient, kind and state are left.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    web::{Path, Query},
};
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    page::{Frame, WebResult, done, show},
    session::Member,
};
use crate::{
    actions::mail::{self as facts, Gathered},
    domain::{
        ids::MailId,
        mail::{Contents, Mail, useful},
        permission::Permission,
        time::{Time, ago, date_time},
    },
    mail::{About, Letter, digest_subject, write},
    store::{
        StoreError, events,
        outbox::{self, Row, State},
    },
};

/// How many mails a page has.
const PAGE: usize = 50;

const STATES: [(&str, State, &str); 4] = [
    ("failed", State::Failed, "Failed"),
    ("waiting", State::Waiting, "Waiting"),
    ("sent", State::Sent, "Sent"),
    ("dropped", State::Dropped, "Not needed"),
];

/// What the page is asked for.
#[derive(serde::Deserialize)]
pub struct ListQuery {
    state: Option<String>,
    before: Option<i64>,
}

/// A line of the list, worded.
struct Line {
    id: i64,
    badge: (&'static str, &'static str, &'static str),
    subject: String,
    to: String,
    kind: &'static str,
    due: String,
    happened: String,
    said: String,
    can_send: bool,
}

const fn badge(state: State) -> (&'static str, &'static str, &'static str) {
    match state {
        State::Failed => ("revoked", "circle-x", "Failed"),
        State::Waiting => ("grace", "clock", "Waiting"),
        State::Sent => ("active", "check", "Sent"),
        State::Dropped => ("", "circle-minus", "Not needed"),
    }
}

fn happened(row: &Row, now: Time) -> String {
    let tries = match row.tries {
        0 => "no try".to_owned(),
        1 => "1 try".to_owned(),
        n => format!("{n} tries"),
    };
    match (row.sent_at, row.failed_at, row.dropped_at, row.next_at) {
        (Some(at), ..) => format!("Sent {}", date_time(at)),
        (_, Some(at), ..) => format!("Failed {} after {tries}", date_time(at)),
        (.., Some(at), _) => format!("Its cause had gone by {}", date_time(at)),
        (.., Some(at)) if row.tries > 0 && at > now => format!("Next try {}, after {tries}", date_time(at)),
        (.., Some(at)) if at > now => format!("Leaves {}", date_time(at)),
        _ => "Leaves now".into(),
    }
}

/// Whether sending it again is of any use.
fn can_send(row: &Row, now: Time) -> bool {
    row.state() == State::Failed && useful(&row.mail, now)
}

/// Whether the reader may not know what a mail says: it is about keys, and they neither see every key nor got it themself.
fn is_masked(member: &Member, row: &Row) -> bool {
    let is_theirs = outbox::folded(&row.to.address) == outbox::folded(&member.acting.email);
    row.mail.is_about_keys() && !is_theirs && !member.may(Permission::KeysReadAny)
}

/// The mail as it is shown here: always without its links.
fn letter(member: &Member, row: &Row, contents: &Contents) -> Letter {
    let now = row.sent_at.or(row.failed_at).unwrap_or_else(|| member.site.clock.now().max(row.due_at));
    let about = About { public_url: &member.site.settings.public_url, name: &row.to.name, address: &row.to.address, now, hidden: true };
    write(&row.mail, contents, &about)
}

#[derive(Template)]
#[template(path = "mails/list.html")]
struct ListPage {
    frame: Frame,
    url: String,
    events: bool,
    failed: i64,
    state: &'static str,
    states: Vec<(&'static str, &'static str)>,
    rows: Vec<Line>,
    older: Option<i64>,
    is_first: bool,
    folder: bool,
}

/// `GET /t/{tenant}/mail`
pub async fn list(member: Member, query: Query<ListQuery>) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    let asked = query.into_inner();
    let state = STATES.iter().find(|(word, ..)| Some(*word) == asked.state.as_deref());
    let wanted = state.map(|(_, state, _)| *state);
    let before = asked.before.map(MailId);
    let (now, secrets) = (member.site.clock.now(), member.site.secrets.clone());
    let found: Result<Vec<(Row, Contents, usize)>, StoreError> = member
        .read(move |db, reach| {
            let rows = outbox::list(db, reach.tenant(), wanted, before, i64::try_from(PAGE + 1).unwrap_or(i64::MAX))?;
            let digests: Vec<MailId> = rows.iter().filter(|row| row.mail == Mail::Digest).map(|row| row.id).collect();
            let sizes = outbox::sizes(db, &digests)?;
            rows.into_iter()
                .map(|row| {
                    let size = sizes.get(&row.id).and_then(|size| usize::try_from(*size).ok()).unwrap_or_default();
                    // A digest of many keys has a subject that needs none of them.
                    let is_long = row.mail == Mail::Digest && size != 1;
                    let contents = if is_long { Contents::default() } else { facts::gather(db, &secrets, &row, now)?.contents };
                    Ok((row, contents, size))
                })
                .collect()
        })
        .await;
    let mut found = found?;
    let has_more = found.len() > PAGE;
    found.truncate(PAGE);
    let older = found.last().filter(|_| has_more).map(|(row, ..)| row.id.0);
    let rows = found.iter().map(|(row, contents, size)| Line {
        id: row.id.0,
        badge: badge(row.state()),
        subject: subject(&member, row, contents, *size),
        to: row.to.address.clone(),
        kind: Mail::label(row.mail.word()),
        due: ago(row.due_at, now.max(row.due_at)),
        happened: happened(row, now),
        said: if row.state() == State::Sent { String::new() } else { row.said.clone() },
        can_send: can_send(row, now),
    });
    show(&ListPage {
        rows: rows.collect(),
        url: member.url("/mail"),
        events: member.may(Permission::EventsRead),
        failed: member.frame.mail.as_ref().map_or(0, |(_, failed)| *failed),
        state: state.map_or("", |(word, ..)| word),
        states: STATES.iter().map(|(word, _, label)| (*word, *label)).collect(),
        older,
        is_first: before.is_none(),
        folder: !member.site.settings.sends_mail,
        frame: member.frame.clone(),
    })
}

/// What stands in the list: of a digest, `size` is how many keys are in it.
fn subject(member: &Member, row: &Row, contents: &Contents, size: usize) -> String {
    match row.mail {
        _ if is_masked(member, row) => "About keys that you may not see".into(),
        Mail::Digest if size > 1 => digest_subject(size),
        Mail::Digest if contents.lines.is_empty() => "Expiry notices that were not needed any more".into(),
        _ => letter(member, row, contents).subject,
    }
}

async fn find(member: &Member, id: i64) -> Result<(Row, Contents), WebError> {
    member.needs(Permission::SettingsManage)?;
    let (now, secrets) = (member.site.clock.now(), member.site.secrets.clone());
    let found: Result<_, StoreError> = member
        .read(move |db, reach| {
            let Some(row) = outbox::find(db, reach.tenant(), MailId(id))? else { return Ok(None) };
            let Gathered { contents, .. } = facts::gather(db, &secrets, &row, now)?;
            Ok(Some((row, contents)))
        })
        .await;
    found?.ok_or(WebError::NotFound)
}

#[derive(Template)]
#[template(path = "mails/one.html")]
struct OnePage {
    frame: Frame,
    url: String,
    id: i64,
    subject: String,
    text: String,
    masked: bool,
    badge: (&'static str, &'static str, &'static str),
    facts: Vec<(&'static str, String)>,
    said: String,
    has_link: bool,
    can_send: bool,
}

/// What the page about a mail may do: frame the mail itself, and nothing more than other pages.
const WITH_FRAME: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// What the mail in the frame may do: nothing but look like itself.
const FRAMED: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'";

/// `GET /t/{tenant}/mail/{id}`
pub async fn one(member: Member, path: Path<(String, i64)>) -> WebResult {
    let (row, contents) = find(&member, path.1).await?;
    let (masked, now) = (is_masked(&member, &row), member.site.clock.now());
    let size = contents.lines.len() + contents.more;
    let mut facts = vec![
        ("To", row.to.address.clone()),
        ("Kind", Mail::label(row.mail.word()).to_owned()),
        ("Written", date_time(row.created_at)),
        ("Due", date_time(row.due_at)),
        ("What happened", happened(&row, now)),
        ("Tries", row.tries.to_string()),
    ];
    if row.mail == Mail::Digest && !masked {
        facts.push(("Keys in it", size.to_string()));
    }
    let mut answer = show(&OnePage {
        frame: member.frame.clone(),
        url: member.url("/mail"),
        id: row.id.0,
        subject: subject(&member, &row, &contents, size),
        text: if masked { String::new() } else { letter(&member, &row, &contents).text()? },
        masked,
        badge: badge(row.state()),
        facts,
        said: row.said.clone(),
        has_link: !masked && (contents.token.is_some() || !contents.lines.is_empty()),
        can_send: can_send(&row, now),
    })?;
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, header::HeaderValue::from_static(WITH_FRAME));
    Ok(answer)
}

/// `GET /t/{tenant}/mail/{id}/html`: the mail alone, for the frame.
pub async fn html(member: Member, path: Path<(String, i64)>) -> WebResult {
    let (row, contents) = find(&member, path.1).await?;
    if is_masked(&member, &row) {
        return Err(WebError::NotFound);
    }
    let html = letter(&member, &row, &contents).html()?;
    Ok(HttpResponse::build(StatusCode::OK)
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, FRAMED))
        .insert_header((header::X_FRAME_OPTIONS, "SAMEORIGIN"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .body(html))
}

/// `POST /t/{tenant}/mail/{id}/send`
pub async fn send_again(member: Member, path: Path<(String, i64)>, mut form: Form) -> WebResult {
    form.only(&[])?;
    let (row, _) = find(&member, path.1).await?;
    if !useful(&row.mail, member.site.clock.now()) {
        return done(&member.site, &member.frame, "The link in this mail has run out: have a new one sent instead.", &member.url("/mail"));
    }
    let (id, tenant) = (row.id, member.acting.tenant.id);
    let again: Result<bool, StoreError> = member
        .write(move |tx, by| {
            let again = outbox::send_again(tx, tenant, id)?;
            if again {
                let event = facts::sent_again(by, &row);
                events::add(tx, tenant, &event)?;
            }
            Ok(again)
        })
        .await;
    let words = if again? { "The mail leaves again in a moment." } else { "This mail has not failed, so there is nothing to send again." };
    done(&member.site, &member.frame, words, &member.url("/mail"))
}
