//! Finishing, renewing, disabling, enabling, revoking and deleting a key. GET asks, naming what happens and when; POST acts.

use actix_web::{HttpRequest, http::StatusCode, web::Path};
use askama::Template;

use super::{
    chart,
    form::Form,
    key_after,
    key_code::{self, Outcome},
    key_edit::seen,
    key_facts::{self, KeyFacts, Used, lifetime_words, used_words, why},
    key_refused,
    key_view::number,
    page::{Frame, Question, WebResult, ask_as, status_of},
    session::Member,
};
use crate::{
    actions::keys::{self, KeyError},
    domain::{
        change::{self, Refused},
        key::Key,
        lifetime, names,
        permission::Permission,
        time::{Time, date, date_time},
    },
    store::{StoreError, keys as rows},
};

type Where = Path<(String, String)>;

/// What is done to a key here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Finish,
    Renew,
    Disable,
    Enable,
    Revoke,
    Delete,
}

impl Verb {
    /// Why it may not be done now; 403 where it is a matter of the member, 409 where of the key.
    fn refusal(self, member: &Member, facts: &KeyFacts) -> Option<KeyError> {
        let (now, acting, key) = (member.by().now, &member.acting, &facts.key);
        let allowed = facts.allowed(acting, now);
        let (may, by_member) = match self {
            Self::Finish => (allowed.finish, acting.may_manage(key.owner) || acting.may(Permission::KeysRevokeAny)),
            Self::Renew => (allowed.renew, acting.may_manage(key.owner)),
            Self::Disable => (allowed.disable, acting.may_stop(key.owner)),
            Self::Enable => (allowed.enable, acting.may_manage(key.owner) || acting.may_stop(key.owner)),
            Self::Revoke => (allowed.revoke, acting.may_stop(key.owner)),
            Self::Delete => (allowed.delete, acting.may_delete(key.owner)),
        };
        if may {
            return None;
        }
        if !by_member {
            return Some(KeyError::NotAllowed);
        }
        let policy = acting.tenant.policy();
        let by_state = match self {
            Self::Finish => change::may_finish(key, now).err(),
            Self::Renew => change::may_renew(key, &policy, now).err(),
            Self::Disable => change::may_disable(key).err(),
            Self::Enable => change::may_enable(key, &policy).err(),
            Self::Revoke => change::may_change(key).err(),
            Self::Delete => None,
        };
        Some(match by_state {
            Some(refused) => refused.into(),
            None if self == Self::Enable => enable_refusal(member, key),
            None => KeyError::NotAllowed,
        })
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Finish => "/finish",
            Self::Renew => "/renew",
            Self::Disable => "/disable",
            Self::Enable => "/enable",
            Self::Revoke => "/revoke",
            Self::Delete => "/delete",
        }
    }

    fn question(self, member: &Member, facts: &KeyFacts) -> Question {
        let name = &facts.key.name;
        let (asks, submit, danger) = match self {
            Self::Finish => (format!("Finish the overlap of “{name}” now?"), "Stop old secret", true),
            Self::Renew => (format!("Renew “{name}”?"), "Renew key", false),
            Self::Disable => (format!("Disable “{name}”?"), "Disable key", false),
            Self::Enable => (format!("Enable “{name}”?"), "Enable key", false),
            Self::Revoke => (format!("Revoke “{name}”?"), "Revoke key", true),
            Self::Delete => (format!("Delete “{name}”?"), "Delete key", true),
        };
        Question {
            asks,
            action: facts.url(member, self.path()),
            submit: submit.into(),
            danger,
            cancel: facts.url(member, ""),
            crumbs: key_refused::crumbs(member, facts),
            wide: false,
        }
    }

    fn needs_code(self, member: &Member) -> bool {
        let asks = member.acting.tenant.settings.code_actions;
        match self {
            Self::Renew => asks.create_and_renew,
            Self::Enable => asks.enable,
            _ => false,
        }
    }
}

fn enable_refusal(member: &Member, key: &Key) -> KeyError {
    match member.acting.disabled_by_another(key) {
        Some(actor) if !member.may(Permission::KeysRevokeAny) => KeyError::DisabledByAnother(actor.name.clone()),
        _ if key_facts::is_management(key) => KeyError::Climb,
        _ => KeyError::NotAllowed,
    }
}

#[derive(Template)]
#[template(path = "keys/ask/finish.html")]
struct FinishBody {
    old: String,
    until: String,
    current: String,
    used: Used,
}

#[derive(Template)]
#[template(path = "keys/ask/renew.html")]
struct RenewBody<'a> {
    frame: &'a Frame,
    form: &'a Form,
    changed: bool,
    length: String,
    before: String,
    after: String,
    code: bool,
}

#[derive(Template)]
#[template(path = "keys/ask/disable.html")]
struct DisableBody<'a> {
    form: &'a Form,
    used: Used,
}

#[derive(Template)]
#[template(path = "keys/ask/enable.html")]
struct EnableBody<'a> {
    frame: &'a Frame,
    form: &'a Form,
    changed: bool,
    disabled: String,
    expired: bool,
    code: bool,
}

#[derive(Template)]
#[template(path = "keys/ask/revoke.html")]
struct RevokeBody<'a> {
    form: &'a Form,
    requests: String,
    used: Used,
}

#[derive(Template)]
#[template(path = "keys/ask/delete.html")]
struct DeleteBody<'a> {
    form: &'a Form,
    changed: bool,
    active: bool,
    id: &'a str,
}

/// Asks, or asks again where `form` has errors or the key was changed meanwhile.
async fn show(member: &Member, verb: Verb, facts: &KeyFacts, form: &Form, changed: bool) -> WebResult {
    let question = verb.question(member, facts);
    let status = if changed { StatusCode::CONFLICT } else { status_of(form) };
    let (key, now, frame) = (&facts.key, member.by().now, &member.frame);
    let used = used_words(key.last_used.as_ref(), now);
    let code = verb.needs_code(member);
    match verb {
        Verb::Finish => {
            let Some(old) = key.overlap(now) else { return key_refused::by_action(member, facts, Refused::NoOverlap.into()) };
            let body = FinishBody {
                old: date_time(old.secret.made_at),
                until: date_time(old.stops_at),
                current: date_time(key.current.made_at),
                used: used_words(old.secret.last_used.as_ref(), now),
            };
            ask_as(status, frame, &question, form, &body)
        }
        Verb::Renew => {
            let (Some(before), Some(length)) = (key.life.expires_at, key.lifetime) else {
                return key_refused::by_action(member, facts, Refused::NoExpiry.into());
            };
            let after = lifetime::renewed(before, length, member.acting.tenant.settings.maximum_days, now);
            let body = RenewBody { frame, form, changed, length: lifetime_words(Some(length)), before: date(before), after: date(after), code };
            ask_as(status, frame, &question, form, &body)
        }
        Verb::Disable => ask_as(status, frame, &question, form, &DisableBody { form, used }),
        Verb::Enable => {
            let by = key.disabled_by.as_ref().map(|actor| format!(" by {}", actor.name)).unwrap_or_default();
            let disabled =
                key.life.disabled_at.map(|at| format!("Disabled on {}{by}.{}", date_time(at), why(&key.disable_reason))).unwrap_or_default();
            let expired = key.life.expires_at.is_some_and(|end| end <= now);
            ask_as(status, frame, &question, form, &EnableBody { frame, form, changed, disabled, expired, code })
        }
        Verb::Revoke => {
            let requests = requests_of_30_days(member, key, now).await?;
            let requests = if requests > 0 { number(requests) } else { String::new() };
            ask_as(status, frame, &question, form, &RevokeBody { form, requests, used })
        }
        Verb::Delete => {
            let body = DeleteBody { form, changed, active: key.life.revoked_at.is_none(), id: key.id.as_str() };
            ask_as(status, frame, &question, form, &body)
        }
    }
}

async fn requests_of_30_days(member: &Member, key: &Key, now: Time) -> Result<i64, StoreError> {
    let (tenant, id) = (key.tenant, key.id);
    let hours: Result<Vec<_>, StoreError> = member.read(move |db, _| rows::usage_since(db, tenant, id, chart::from(now))).await;
    Ok(hours?.into_iter().map(|(_, accepted, refused)| accepted + refused).sum())
}

async fn ask(member: Member, path: Where, verb: Verb) -> WebResult {
    let facts = key_facts::find(&member, &path.1).await?;
    if let Some(refusal) = verb.refusal(&member, &facts) {
        return key_refused::by_action(&member, &facts, refusal);
    }
    let form = Form::filled([("seen", facts.key.version.to_string())]);
    show(&member, verb, &facts, &form, false).await
}

async fn act(member: Member, req: HttpRequest, path: Where, mut form: Form, verb: Verb) -> WebResult {
    let known: &[&str] = match verb {
        Verb::Finish => &["seen"],
        Verb::Renew | Verb::Enable => &["seen", "totp"],
        Verb::Disable | Verb::Revoke => &["seen", "reason"],
        Verb::Delete => &["seen", "confirm"],
    };
    form.only(known)?;
    let facts = key_facts::find(&member, &path.1).await?;
    if let Some(refusal) = verb.refusal(&member, &facts) {
        return key_refused::by_action(&member, &facts, refusal);
    }
    // Disable, finish and revoke apply to whatever the key is now.
    let version = if matches!(verb, Verb::Renew | Verb::Enable | Verb::Delete) { seen(&form)? } else { 0 };
    let needs_code = verb.needs_code(&member);
    if needs_code && form.text("totp").trim().is_empty() {
        form.wrong("totp", KeyError::NeedsCode);
    }
    if verb == Verb::Delete && !form.text("confirm").trim().eq_ignore_ascii_case("delete") {
        form.wrong("confirm", "Type delete to confirm.");
    }
    let reason = form.parse("reason", names::reason).unwrap_or_default();
    if form.has_errors() {
        return show(&member, verb, &facts, &form, false).await;
    }
    let id = facts.key.id;
    let outcome = key_code::act(&member, &form, needs_code, move |tx, by, proof| match verb {
        Verb::Finish => keys::finish(tx, by, id),
        Verb::Renew => keys::renew(tx, by, id, version, proof),
        Verb::Disable => keys::disable(tx, by, id, &reason),
        Verb::Enable => keys::enable(tx, by, id, version, proof),
        Verb::Revoke => keys::revoke(tx, by, id, &reason),
        Verb::Delete => keys::delete(tx, by, id, version),
    })
    .await?;
    match outcome {
        Outcome::Done(key) if verb == Verb::Delete => key_after::gone(&member, &req, &format!("“{}” deleted.", key.name)).await,
        Outcome::Done(key) => key_after::changed(&member, &req, &facts, &done_words(verb, &key)).await,
        Outcome::WrongCode(words) => {
            form.wrong("totp", words);
            show(&member, verb, &facts, &form, false).await
        }
        Outcome::Refused(KeyError::NeedsCode) => {
            form.wrong("totp", KeyError::NeedsCode);
            show(&member, verb, &facts, &form, false).await
        }
        Outcome::Refused(KeyError::Changed) => {
            let facts = key_facts::find(&member, &path.1).await?;
            if let Some(refusal) = verb.refusal(&member, &facts) {
                return key_refused::by_action(&member, &facts, refusal);
            }
            form.set("seen", facts.key.version.to_string());
            show(&member, verb, &facts, &form, true).await
        }
        Outcome::Refused(refusal) => key_refused::by_action(&member, &facts, refusal),
    }
}

fn done_words(verb: Verb, key: &Key) -> String {
    match verb {
        Verb::Finish => "Finished. The old secret no longer works.".into(),
        Verb::Renew => format!("Renewed. The key now expires on {}.", key.life.expires_at.map(date).unwrap_or_default()),
        Verb::Disable => "Key disabled.".into(),
        Verb::Enable => "Key enabled.".into(),
        Verb::Revoke => "Key revoked.".into(),
        Verb::Delete => "Key deleted.".into(),
    }
}

macro_rules! routes {
    ($($(#[$doc:meta])* $ask:ident, $act:ident => $verb:ident;)+) => {$(
        $(#[$doc])*
        pub async fn $ask(member: Member, path: Where) -> WebResult {
            ask(member, path, Verb::$verb).await
        }

        $(#[$doc])*
        pub async fn $act(member: Member, req: HttpRequest, path: Where, form: Form) -> WebResult {
            act(member, req, path, form, Verb::$verb).await
        }
    )+};
}

routes! {
    /// Ends a running overlap now.
    ask_finish, finish => Finish;
    /// Starts the original lifetime again.
    ask_renew, renew => Renew;
    /// Locks the key for a while.
    ask_disable, disable => Disable;
    /// Lifts a disable.
    ask_enable, enable => Enable;
    /// Stops the key for good.
    ask_revoke, revoke => Revoke;
    /// Removes the key from the list.
    ask_delete, delete => Delete;
}
