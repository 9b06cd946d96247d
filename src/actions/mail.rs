//! What a mail tells of, gathered when it is sent or looked at.

use crate::{
    actions::extend,
    domain::{
        ids::NoticeId,
        mail::{Contents, KeyName, Line, Mail, Role},
        notice::{Stage, still_true},
        time::Time,
        token::{Purpose, Token},
    },
    secrets::Secrets,
    store::{
        Db, StoreError,
        extensions::{self, Linked},
        outbox::{self, Notice, Row, State},
        tenants,
    },
};

/// What a mail says, and what of it is to be written down before it leaves.
#[derive(Debug, Default)]
pub struct Gathered {
    /// What it says besides its facts.
    pub contents: Contents,
    /// The lines that were worked out just now, as JSON; `None` where the cause of a line has gone.
    pub worked_out: Vec<(NoticeId, Option<String>)>,
}

/// The token of the link in a mail, where its kind has one: the same each time, and stored nowhere.
pub fn token(secrets: &Secrets, row: &Row) -> Option<Token> {
    let purpose = match row.mail {
        Mail::Invitation { .. } => Purpose::Invite,
        Mail::PasswordReset { .. } | Mail::ConfirmAddress { .. } => Purpose::Reset,
        _ => return None,
    };
    let at = row.created_at.timestamp_micros().to_be_bytes();
    Some(secrets.link(purpose, row.id.0, &[row.mail.word().as_bytes(), outbox::folded(&row.to.address).as_bytes(), &at]))
}

/// Gathers what a mail says. One that has left says what it said then.
///
/// # Errors
/// The database is away.
pub fn gather(db: &mut Db, secrets: &Secrets, row: &Row, now: Time) -> Result<Gathered, StoreError> {
    let mut gathered = Gathered::default();
    if let Some(tenant) = row.tenant {
        let tenant = tenants::get(db, tenant)?;
        gathered.contents.notice_days.clone_from(&tenant.settings.notice_days);
        gathered.contents.tenant = Some((tenant.slug, tenant.name));
    }
    gathered.contents.token = token(secrets, row).map(|token| token.reveal().to_owned());
    if row.mail != Mail::Digest {
        return Ok(gathered);
    }
    for notice in outbox::notices_of(db, row.id)? {
        let line = if row.state() == State::Waiting {
            let line = fresh_line(db, &notice, now)?;
            let json = line.as_ref().map(serde_json::to_string).transpose().map_err(|error| StoreError::Row(error.to_string()))?;
            gathered.worked_out.push((notice.id, json));
            line
        } else {
            notice.shown.as_deref().map(serde_json::from_str).transpose().map_err(|error| StoreError::Row(error.to_string()))?
        };
        if let Some(line) = line {
            let token = extensions::token(secrets, &notice);
            gathered.contents.lines.push((line, Some(token.reveal().to_owned())));
        }
    }
    Ok(gathered)
}

/// What a notice says now; `None` where its cause has gone.
fn fresh_line(db: &mut Db, notice: &Notice, now: Time) -> Result<Option<Line>, StoreError> {
    let Ok(stage) = notice.stage.parse::<Stage>() else { return Ok(None) };
    let linked = extensions::linked(db, notice.clone())?;
    let extended_to = extend::offer(&linked, now).ok();
    let Linked { tenant, key: Some((key, _)), .. } = linked else { return Ok(None) };
    let still_named = || key.notice_recipients.iter().any(|address| outbox::folded(address.as_str()) == notice.recipient);
    if !still_true(stage, notice.expires_at, &key.life, &tenant.grace, now) || (notice.role == Role::Extra && !still_named()) {
        return Ok(None);
    }
    let for_extra = notice.role == Role::Extra;
    let used = key.last_used.filter(|_| !for_extra);
    Ok(Some(Line {
        key: KeyName { id: key.id.to_string(), name: key.name.as_str().to_owned() },
        stage: notice.stage.clone(),
        expires_at: notice.expires_at,
        works_until: tenant.grace.end(notice.expires_at, now),
        extended_to,
        last_used_at: used.as_ref().map(|used| used.at),
        last_used_from: used.and_then(|used| used.ip),
        for_extra,
    }))
}
