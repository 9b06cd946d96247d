//! What the Mail pages of a tenant and of the installation share: the list, a mail on its page and alone. A mail is shown without the
//! links that only its recipient may use; of one about keys that the reader may not see, recipient, kind and state are left.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use askama::Template;

use super::{
    error::WebError,
    page::{Frame, WebResult, show},
    site::Site,
};
use crate::{
    actions::mail::{self as facts, Gathered},
    domain::{
        ids::MailId,
        mail::{Contents, Mail, useful},
        time::{Time, ago, date_time},
    },
    mail::{About, Letter, digest_subject, write},
    secrets::Secrets,
    store::{
        Db, StoreError,
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

/// Who looks at mails, and where.
pub(super) struct Desk<'a> {
    /// What pages have at hand.
    pub site: &'a Site,
    /// What surrounds the page.
    pub frame: &'a Frame,
    /// The address of the list.
    pub url: String,
    /// Whether the list stands beside the events.
    pub events: bool,
    /// The reader's own address.
    pub address: &'a str,
    /// Whether the reader may see every key.
    pub sees_keys: bool,
}

/// What the list is asked for.
#[derive(serde::Deserialize)]
pub struct ListQuery {
    state: Option<String>,
    before: Option<i64>,
}

impl ListQuery {
    /// The state that is asked for.
    pub(super) fn state(&self) -> Option<State> {
        self.known_state().map(|(_, state, _)| *state)
    }

    /// The mail that those asked for are older than.
    pub(super) fn before(&self) -> Option<MailId> {
        self.before.map(MailId)
    }

    fn known_state(&self) -> Option<&'static (&'static str, State, &'static str)> {
        STATES.iter().find(|(word, ..)| Some(*word) == self.state.as_deref())
    }
}

/// How many mails to read for one page: one more says that there are older ones.
pub(super) const READ: i64 = 51;

/// A mail of the list, with what it says, and of a digest how many keys are in it.
pub(super) type Listed = (Row, Contents, usize);

/// What the list says of these mails.
///
/// # Errors
/// The database is away.
pub(super) fn listed(db: &mut Db, secrets: &Secrets, rows: Vec<Row>, now: Time) -> Result<Vec<Listed>, StoreError> {
    let digests: Vec<MailId> = rows.iter().filter(|row| row.mail == Mail::Digest).map(|row| row.id).collect();
    let sizes = outbox::sizes(db, &digests)?;
    rows.into_iter()
        .map(|row| {
            let size = sizes.get(&row.id).and_then(|size| usize::try_from(*size).ok()).unwrap_or_default();
            // A digest of many keys has a subject that needs none of them.
            let is_long = row.mail == Mail::Digest && size != 1;
            let contents = if is_long { Contents::default() } else { facts::gather(db, secrets, &row, now)?.contents };
            Ok((row, contents, size))
        })
        .collect()
}

/// A mail with what it says.
///
/// # Errors
/// The database is away.
pub(super) fn opened(db: &mut Db, secrets: &Secrets, row: Option<Row>, now: Time) -> Result<Option<(Row, Contents)>, StoreError> {
    let Some(row) = row else { return Ok(None) };
    let Gathered { contents, .. } = facts::gather(db, secrets, &row, now)?;
    Ok(Some((row, contents)))
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

impl Desk<'_> {
    /// Whether the reader may not know what a mail says: it is about keys, and they neither see every key nor got it themself.
    fn is_masked(&self, row: &Row) -> bool {
        let is_theirs = outbox::folded(&row.to.address) == outbox::folded(self.address);
        row.mail.is_about_keys() && !is_theirs && !self.sees_keys
    }

    /// The mail as it is shown here: always without its links.
    fn letter(&self, row: &Row, contents: &Contents) -> Letter {
        let now = row.sent_at.or(row.failed_at).unwrap_or_else(|| self.site.clock.now().max(row.due_at));
        let about = About { public_url: &self.site.settings.public_url, name: &row.to.name, address: &row.to.address, now, hidden: true };
        write(&row.mail, contents, &about)
    }

    /// What stands in the list: of a digest, `size` is how many keys are in it.
    fn subject(&self, row: &Row, contents: &Contents, size: usize) -> String {
        match row.mail {
            _ if self.is_masked(row) => "About keys that you may not see".into(),
            Mail::Digest if size > 1 => digest_subject(size),
            Mail::Digest if contents.lines.is_empty() => "Expiry notices that were not needed any more".into(),
            _ => self.letter(row, contents).subject,
        }
    }
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

/// The list, of up to [`READ`] mails.
///
/// # Errors
/// The page cannot be rendered.
pub(super) fn list(desk: &Desk<'_>, query: &ListQuery, mut found: Vec<Listed>) -> WebResult {
    let now = desk.site.clock.now();
    let has_more = found.len() > PAGE;
    found.truncate(PAGE);
    let rows = found.iter().map(|(row, contents, size)| Line {
        id: row.id.0,
        badge: badge(row.state()),
        subject: desk.subject(row, contents, *size),
        to: row.to.address.clone(),
        kind: Mail::label(row.mail.word()),
        due: ago(row.due_at, now.max(row.due_at)),
        happened: happened(row, now),
        said: if row.state() == State::Sent { String::new() } else { row.said.clone() },
        can_send: can_send(row, now),
    });
    show(&ListPage {
        rows: rows.collect(),
        url: desk.url.clone(),
        events: desk.events,
        failed: desk.frame.mail.as_ref().map_or(0, |(_, failed)| *failed),
        state: query.known_state().map_or("", |(word, ..)| word),
        states: STATES.iter().map(|(word, _, label)| (*word, *label)).collect(),
        older: found.last().filter(|_| has_more).map(|(row, ..)| row.id.0),
        is_first: query.before.is_none(),
        folder: !desk.site.settings.sends_mail,
        frame: desk.frame.clone(),
    })
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

/// The page of a mail.
///
/// # Errors
/// The page cannot be rendered.
pub(super) fn one(desk: &Desk<'_>, row: &Row, contents: &Contents) -> WebResult {
    let (masked, now) = (desk.is_masked(row), desk.site.clock.now());
    let size = contents.lines.len() + contents.more;
    let mut facts = vec![
        ("To", row.to.address.clone()),
        ("Kind", Mail::label(row.mail.word()).to_owned()),
        ("Written", date_time(row.created_at)),
        ("Due", date_time(row.due_at)),
        ("What happened", happened(row, now)),
        ("Tries", row.tries.to_string()),
    ];
    if row.mail == Mail::Digest && !masked {
        facts.push(("Keys in it", size.to_string()));
    }
    let mut answer = show(&OnePage {
        frame: desk.frame.clone(),
        url: desk.url.clone(),
        id: row.id.0,
        subject: desk.subject(row, contents, size),
        text: if masked { String::new() } else { desk.letter(row, contents).text()? },
        masked,
        badge: badge(row.state()),
        facts,
        said: row.said.clone(),
        has_link: !masked && (contents.token.is_some() || !contents.lines.is_empty()),
        can_send: can_send(row, now),
    })?;
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, header::HeaderValue::from_static(WITH_FRAME));
    Ok(answer)
}

/// The mail alone, for the frame.
///
/// # Errors
/// 404 where the reader may not know what it says.
pub(super) fn html(desk: &Desk<'_>, row: &Row, contents: &Contents) -> WebResult {
    if desk.is_masked(row) {
        return Err(WebError::NotFound);
    }
    let html = desk.letter(row, contents).html()?;
    Ok(HttpResponse::build(StatusCode::OK)
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, FRAMED))
        .insert_header((header::X_FRAME_OPTIONS, "SAMEORIGIN"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .body(html))
}

/// Why a mail is not sent again, before anything is tried: the words of the page.
pub(super) const RUN_OUT: &str = "The link in this mail has run out: have a new one sent instead.";

/// What came of *Send again*, in words.
pub(super) const fn sent_again(again: bool) -> &'static str {
    if again { "The mail leaves again in a moment." } else { "This mail has not failed, so there is nothing to send again." }
}
