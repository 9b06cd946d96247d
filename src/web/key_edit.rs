//! Editing a key: all but its ID, owner, secret and the server's dates.

use actix_web::{http::StatusCode, web::Path};
use askama::Template;

use super::{
    error::WebError,
    expiry_form::{self, LifeOffer},
    form::Form,
    key_code::{self, Outcome},
    key_facts::{self, KeyFacts, expiry_words},
    key_fields::{self, FIELDS, Offer, Sought},
    key_refused,
    page::{Frame, Link, WebResult, done, show_as, status_of},
    session::Member,
};
use crate::{
    actions::keys::{self, KeyError},
    domain::{change, key::Key, lifetime::Choice, names::EmailAddress, time::date},
    store::StoreError,
};

#[derive(Template)]
#[template(path = "keys/edit.html")]
struct EditPage {
    frame: Frame,
    form: Form,
    crumbs: Vec<Link>,
    action: String,
    back: String,
    renew: String,
    /// What the key has now, where it is not what the form was made from.
    newer: Vec<(&'static str, String)>,
    offer: Offer,
    life: LifeOffer,
    keep: String,
    code: bool,
}

async fn page(member: &Member, facts: &KeyFacts, mut form: Form, newer: Vec<(&'static str, String)>) -> WebResult {
    let (acting, owner, key, sought) = (member.acting.clone(), facts.owner.clone(), facts.key.clone(), Sought::of(&form));
    let offer: Result<_, StoreError> = member.read(move |db, _| key_fields::offer(db, &acting, &owner, Some(&key), &sought)).await;
    let mut offer = offer?;
    offer.follow(&form);
    let now = member.by().now;
    let tenant = &member.acting.tenant;
    form.set("seen", facts.key.version.to_string());
    let mut life = expiry_form::offer(tenant, None, expiry_form::zone(&member.account.time_zone), now);
    let keep = match facts.key.life.expires_at {
        None => "Never, as now".to_owned(),
        Some(at) => {
            // Only what lies nearer may be chosen, and never is not.
            life.options
                .retain(|option| option.value.parse::<crate::domain::lifetime::Lifetime>().is_ok_and(|l| l.after(now).is_some_and(|end| end <= at)));
            life.last_day = at.format("%Y-%m-%d").to_string();
            format!("Keep {}", date(at))
        }
    };
    life.options.retain(|option| option.value != "never");
    let status = if newer.is_empty() { status_of(&form) } else { StatusCode::CONFLICT };
    let allowed = facts.allowed(&member.acting, now);
    let page = EditPage {
        frame: member.frame.clone(),
        crumbs: key_refused::crumbs(member, facts),
        action: facts.url(member, "/edit"),
        back: facts.url(member, ""),
        renew: if allowed.renew { facts.url(member, "/renew") } else { String::new() },
        newer,
        code: key_fields::wants_reserved(&form) || !offer.reserved.is_empty(),
        offer,
        life,
        keep,
        form,
    };
    show_as(status, &page)
}

fn allowed(member: &Member, facts: &KeyFacts) -> Result<(), KeyError> {
    if facts.allowed(&member.acting, member.by().now).edit {
        Ok(())
    } else if !member.acting.may_manage(facts.key.owner) {
        Err(KeyError::NotAllowed)
    } else {
        change::may_change(&facts.key)?;
        Err(KeyError::Climb)
    }
}

/// The form, filled in with what the key has.
pub async fn form(member: Member, path: Path<(String, String)>) -> WebResult {
    let facts = key_facts::find(&member, &path.1).await?;
    if let Err(refusal) = allowed(&member, &facts) {
        return key_refused::by_action(&member, &facts, refusal);
    }
    let mut form = Form::default();
    key_fields::fill(&mut form, &facts.key);
    form.set("life", "keep");
    form.set("days", "30");
    page(&member, &facts, form, Vec::new()).await
}

/// Saves what was edited.
pub async fn edit(member: Member, path: Path<(String, String)>, mut form: Form) -> WebResult {
    let known: Vec<&str> = FIELDS.iter().copied().chain(["seen", "life", "days", "date", "totp"]).collect();
    form.only(&known)?;
    let facts = key_facts::find(&member, &path.1).await?;
    if let Err(refusal) = allowed(&member, &facts) {
        return key_refused::by_action(&member, &facts, refusal);
    }
    let seen = seen(&form)?;
    if seen != facts.key.version {
        let newer = as_it_is(&member, &facts);
        return page(&member, &facts, form, newer).await;
    }
    if key_fields::asks_offer(&form) {
        return page(&member, &facts, form, Vec::new()).await;
    }
    if form.text("name").trim().is_empty() {
        form.wrong("name", "Enter a name.");
    }
    let expiry = read_expiry(&member, &mut form);
    let fields = key_fields::read(&mut form);
    let (Some(fields), false) = (fields, form.has_errors()) else {
        return page(&member, &facts, form, Vec::new()).await;
    };
    let id = facts.key.id;
    let needs_code = key_fields::wants_reserved(&form);
    match key_code::act(&member, &form, needs_code, move |tx, by, proof| keys::edit(tx, by, id, seen, &fields, expiry, proof)).await? {
        Outcome::Done(_) => done(&member.site, &member.frame, "Key edited. Changes work on the next request.", &facts.url(&member, "")),
        Outcome::WrongCode(words) => {
            form.wrong("totp", words);
            page(&member, &facts, form, Vec::new()).await
        }
        Outcome::Refused(KeyError::Changed) => {
            let facts = key_facts::find(&member, &path.1).await?;
            let newer = as_it_is(&member, &facts);
            page(&member, &facts, form, newer).await
        }
        Outcome::Refused(error) => match key_fields::place(&mut form, error, "life") {
            Some(error) => key_refused::by_action(&member, &facts, error),
            None => page(&member, &facts, form, Vec::new()).await,
        },
    }
}

/// The version of the key that a form showed.
///
/// # Errors
/// 400 where it says none.
pub fn seen(form: &Form) -> Result<i64, WebError> {
    form.text("seen").parse().map_err(|_| WebError::BadRequest("The form is not whole. Nothing was changed. Reload the page and try again.".into()))
}

/// `None` leaves the expiry as it is; what is wrong is kept in the form.
fn read_expiry(member: &Member, form: &mut Form) -> Option<Choice> {
    match form.text("life") {
        "keep" | "" => None,
        _ => expiry_form::read(form, "life", expiry_form::zone(&member.account.time_zone)),
    }
}

fn as_it_is(member: &Member, facts: &KeyFacts) -> Vec<(&'static str, String)> {
    let Key { name, comment, life, ip_ranges, notice_recipients, .. } = &facts.key;
    let or_none = |text: String| if text.is_empty() { "None".to_owned() } else { text };
    vec![
        ("Name", name.to_string()),
        ("Access", facts.access_words(&member.acting)),
        ("Resources", facts.resource_words(&member.acting).join(", ")),
        ("Expires", expiry_words(life.expires_at, &member.acting.tenant.grace, member.by().now)),
        ("IP ranges", or_none(ip_ranges.texts().join(", "))),
        ("Notices to", or_none(notice_recipients.iter().map(EmailAddress::as_str).collect::<Vec<_>>().join(", "))),
        ("Comment", or_none(comment.clone())),
    ]
}
