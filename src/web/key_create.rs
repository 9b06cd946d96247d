//! Creating a key: the form, and the one answer that shows the token.

use actix_web::{HttpRequest, http::StatusCode};
use askama::Template;
use chrono_tz::Tz;

use super::{
    error::WebError,
    expiry_form::{self, LifeOffer},
    form::Form,
    key_code::{self, Outcome},
    key_facts::KeyFacts,
    key_fields::{self, FIELDS, Offer, Sought},
    key_refused,
    key_token::{self, Fact},
    page::{Frame, Link, WebResult, show, show_as, status_of},
    picker::{self, Among, People},
    session::Member,
};
use crate::{
    actions::keys::{self, KeyError, Made},
    chance,
    domain::{
        change::Refused,
        ids::MemberId,
        lifetime,
        permission::Permission,
        time::{Time, date, date_time},
        token::base62,
    },
    store::{
        Db, StoreError, keys as rows,
        members::{self, Acting, Owner},
    },
};

#[derive(Template)]
#[template(path = "keys/new.html")]
struct NewPage {
    frame: Frame,
    form: Form,
    title: String,
    crumbs: Vec<Link>,
    action: String,
    back: String,
    default_name: String,
    owners: People,
    owner_name: String,
    owner_email: String,
    count: String,
    offer: Offer,
    life: LifeOffer,
    code_always: bool,
}

#[derive(Template)]
#[template(path = "keys/blocked.html")]
struct BlockedPage {
    frame: Frame,
    crumbs: Vec<Link>,
    off: bool,
    lead: String,
    words: String,
    back: String,
}

/// What the chosen expiry comes to, for the form that is being filled in.
#[derive(Template)]
#[template(path = "keys/life_says.html")]
struct LifeSays {
    words: String,
}

/// Whose key it becomes, and what it may be given.
pub(super) struct Asked {
    pub owner: Owner,
    pub owners: People,
    pub used: i64,
    pub limit: i64,
    /// What the keys are that count; empty where one more may be made.
    pub parts: String,
    pub offer: Offer,
}

fn ask(db: &mut Db, acting: &Acting, owner: MemberId, sought: &Sought, now: Time) -> Result<Option<Asked>, StoreError> {
    let tenant = &acting.tenant;
    let Some(owner) = members::find(db, tenant.id, owner)?.filter(|owner| owner.removed_at.is_none()) else { return Ok(None) };
    let among = if acting.may(Permission::KeysManageAny) { Among::Active } else { Among::These(acting.own().collect()) };
    let owners = picker::people(db, tenant.id, &among, &sought.owner, Some(owner.id))?;
    let parts = rows::parts(db, tenant.id, owner.id, now)?;
    let used = parts.all();
    let limit = owner.key_limit.unwrap_or(tenant.settings.keys_per_member.into());
    let parts = if used >= limit { format!(": {parts}") } else { String::new() };
    let offer = key_fields::offer(db, acting, &owner, None, sought)?;
    Ok(Some(Asked { owner, owners, used, limit, parts, offer }))
}

/// Whose key it becomes, and what it may be given, where the member may make one.
pub(super) async fn asked(member: &Member, owner: MemberId, sought: Sought) -> Result<Asked, WebError> {
    let acting = member.acting.clone();
    let now = member.by().now;
    let asked: Result<_, StoreError> = member.read(move |db, _| ask(db, &acting, owner, &sought, now)).await;
    let asked = asked?.ok_or(WebError::NotFound)?;
    if member.acting.may_manage(asked.owner.id) { Ok(asked) } else { Err(member.forbidden(Permission::KeysManageAny)) }
}

fn zone(member: &Member) -> Tz {
    expiry_form::zone(&member.account.time_zone)
}

fn crumbs(member: &Member) -> Vec<Link> {
    vec![key_refused::list_link(member)]
}

fn blocked(member: &Member, off: bool, lead: String, words: String) -> WebResult {
    show(&BlockedPage { frame: member.frame.clone(), crumbs: crumbs(member), off, lead, words, back: key_refused::list_link(member).url })
}

fn page(member: &Member, form: Form, asked: Asked) -> WebResult {
    let Asked { owner, owners, used, limit, mut offer, .. } = asked;
    offer.follow(&form);
    let tenant = &member.acting.tenant;
    let now = member.by().now;
    let own = owner.id == member.acting.id;
    let status = status_of(&form);
    let mut life =
        expiry_form::offer(tenant, lifetime::preselected(tenant.settings.default_lifetime, tenant.settings.maximum_days), zone(member), now);
    life.says = expiry_form::says(&form, "life", zone(member), &tenant.settings, now);
    let page = NewPage {
        frame: member.frame.clone(),
        title: if own || owners.is_choice() { "Create key".into() } else { format!("Create key for {}", owner.name) },
        crumbs: crumbs(member),
        action: member.url("/keys/new"),
        back: key_refused::list_link(member).url,
        default_name: format!("Key of {}", date(now)),
        count: format!("{used} of {limit} keys used."),
        owner_name: owner.name,
        owner_email: owner.email,
        owners,
        offer,
        life,
        code_always: tenant.settings.code_actions.create_and_renew,
        form,
    };
    show_as(status, &page)
}

/// The form.
pub async fn form(member: Member, req: HttpRequest) -> WebResult {
    member.needs(Permission::KeysManageOwn)?;
    let tenant = member.acting.tenant.clone();
    if !tenant.settings.keys_enabled {
        let words = "No key can be made until they are turned on again. Keys, dates and owners are kept.";
        return blocked(&member, true, format!("API keys are turned off for {}.", tenant.name), words.into());
    }
    let mut query = Form::from_query(&req)?;
    query.only(&["owner", "resource"])?;
    let owner = match query.text("owner") {
        "" => member.acting.id,
        text => text.parse().map_err(|_| WebError::NotFound)?,
    };
    let asked = asked(&member, owner, Sought::of(&query)).await?;
    if asked.used >= asked.limit && !asked.owners.is_choice() {
        return blocked(&member, false, String::new(), limit_words(&member, &asked));
    }
    let (life, days) = expiry_form::value_of(lifetime::preselected(tenant.settings.default_lifetime, tenant.settings.maximum_days));
    let mut form = Form::filled([
        ("owner", owner.to_string()),
        ("access", "same".into()),
        ("res", "all".into()),
        ("life", life),
        ("days", days.unwrap_or_else(|| tenant.settings.maximum_days.unwrap_or(30).min(30)).to_string()),
        ("form_id", base62(22, &mut chance::fill)),
    ]);
    if query.checked("resource") {
        form.set("res", "some");
        form.set("resource", query.text("resource"));
    }
    page(&member, form, asked)
}

fn limit_words(member: &Member, asked: &Asked) -> String {
    let (used, limit, parts) = (asked.used, asked.limit, &asked.parts);
    if asked.owner.id == member.acting.id {
        format!("You have {used} of {limit} keys{parts}. Revoke or delete one, or ask a tenant admin to raise the limit.")
    } else {
        format!("{} has {used} of {limit} keys{parts}. Revoke or delete one, or ask a tenant admin to raise the limit.", asked.owner.name)
    }
}

/// Makes the key.
pub async fn create(member: Member, mut form: Form) -> WebResult {
    let known: Vec<&str> = FIELDS.iter().copied().chain(["owner", "find_owner", "found_owner", "form_id", "life", "days", "date", "totp"]).collect();
    form.only(&known)?;
    member.needs(Permission::KeysManageOwn)?;
    // Without an owner it is one's own, as in the empty form.
    let owner = match form.text("owner") {
        "" => member.acting.id,
        text => text.parse().map_err(|_| WebError::NotFound)?,
    };
    let form_id = key_code::form_id(&form)?;
    if form.has("offer", "life") {
        let words = expiry_form::says(&form, "life", zone(&member), &member.acting.tenant.settings, member.by().now);
        return show(&LifeSays { words });
    }
    if key_fields::asks_offer(&form) {
        let asked = asked(&member, owner, Sought::of(&form)).await?;
        return page(&member, form, asked);
    }
    if let Some(made) = key_code::made_before(&member, &form_id).await? {
        return key_refused::sent_before(&member, &made).await;
    }
    let fields = key_fields::read(&mut form);
    let expiry = expiry_form::read(&mut form, "life", zone(&member));
    let (Some(fields), Some(expiry)) = (fields, expiry) else {
        let asked = asked(&member, owner, Sought::of(&form)).await?;
        return page(&member, form, asked);
    };
    let needs_code = member.acting.tenant.settings.code_actions.create_and_renew || key_fields::wants_reserved(&form);
    let id = form_id.clone();
    let outcome = key_code::act(&member, &form, needs_code, move |tx, by, proof| keys::create(tx, by, owner, &fields, expiry, &id, proof)).await?;
    match outcome {
        Outcome::Done(made) => created(&member, made).await,
        Outcome::WrongCode(words) => {
            if let Some(made) = key_code::made_before(&member, &form_id).await? {
                return key_refused::sent_before(&member, &made).await;
            }
            form.wrong("totp", words);
            let asked = asked(&member, owner, Sought::of(&form)).await?;
            page(&member, form, asked)
        }
        Outcome::Refused(KeyError::AlreadyDone(made)) => key_refused::sent_before(&member, &made).await,
        Outcome::Refused(KeyError::Refused(Refused::KeysOff)) => {
            let words = "No key can be made until they are turned on again. Nothing was made.";
            blocked(&member, true, format!("API keys are turned off for {}.", member.acting.tenant.name), words.into())
        }
        Outcome::Refused(error) => {
            if let Some(error) = key_fields::place(&mut form, error, "life") {
                return Err(key_refused::error(error));
            }
            let asked = asked(&member, owner, Sought::of(&form)).await?;
            page(&member, form, asked)
        }
    }
}

async fn created(member: &Member, made: Made) -> WebResult {
    let facts = super::key_facts::find(member, made.key.id.as_str()).await;
    let list = facts.map_or_else(|_| Vec::new(), |facts| words(member, &facts));
    let lead = format!("“{}” is ready.", made.key.name);
    key_token::show(member, made.key.id, &made.token, lead, list, StatusCode::OK)
}

/// What is said of a new key below its token.
pub(super) fn words(member: &Member, facts: &KeyFacts) -> Vec<Fact> {
    let key = &facts.key;
    let expires = key.life.expires_at.map_or_else(|| "Never".to_owned(), date_time);
    let mut list = vec![
        Fact("Owner", vec![facts.owner.name.clone()], false),
        Fact("Access", vec![facts.access_words(&member.acting)], false),
        Fact("Resources", facts.resource_words(&member.acting), false),
        Fact("Expires", vec![expires], false),
    ];
    if !key.ip_ranges.is_empty() {
        list.push(Fact("IP ranges", key.ip_ranges.texts(), true));
    }
    list
}
