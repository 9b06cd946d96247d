//! Adding a resource, and a key that reaches it and nothing else in the same step.

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use askama::Template;
use chrono_tz::Tz;

use super::{
    access::{description, place, refused},
    access_resources::{base, may_make_key},
    error::WebError,
    expiry_form::{self, LifeOffer},
    form::Form,
    key_code, key_create, key_facts,
    key_fields::{self, Sought},
    key_refused, key_token,
    page::{Frame, Link, WebResult, done, show, show_as, status_of},
    picker::{Offered, People},
    session::Member,
};
use crate::{
    actions::{
        access::{self, AccessError, KeyWithIt},
        credentials::{self, CodeError},
        keys::{KeyError, KeyForm, Made},
    },
    chance,
    domain::{
        access::{KeyAccess, ResourceSet},
        ids::{AccessRoleId, MemberId},
        ip_range::IpRanges,
        lifetime::{self, Choice},
        names::{KeyName, Resource, ResourcePattern},
        permission::Permission,
        token::base62,
    },
    store::{Db, StoreError, members::Reach, resources},
};

/// What a key for the resource can be.
struct KeyOffer {
    owners: People,
    own: bool,
    roles: Vec<Offered>,
    count: String,
    life: LifeOffer,
    code: bool,
}

#[derive(Template)]
#[template(path = "access/resource_new.html")]
struct NewPage {
    frame: Frame,
    form: Form,
    crumbs: Vec<Link>,
    action: String,
    back: String,
    kinds: Vec<String>,
    key: Option<KeyOffer>,
}

fn zone(member: &Member) -> Tz {
    expiry_form::zone(&member.account.time_zone)
}

fn action(member: &Member) -> String {
    format!("{}/new", base(member))
}

fn crumbs(member: &Member) -> Vec<Link> {
    vec![Link::new("Resources", base(member))]
}

async fn key_offer(member: &Member, form: &Form) -> Result<Option<KeyOffer>, WebError> {
    if !may_make_key(member) {
        return Ok(None);
    }
    let owner: MemberId = form.text("owner").parse().unwrap_or(member.acting.id);
    let asked = key_create::asked(member, owner, Sought::of(form)).await?;
    let settings = &member.acting.tenant.settings;
    let preselected = lifetime::preselected(settings.default_lifetime, settings.maximum_days);
    Ok(Some(KeyOffer {
        own: asked.owner.id == member.acting.id,
        owners: asked.owners,
        roles: asked.offer.roles,
        count: format!("{} of {} keys used.", asked.used, asked.limit),
        life: expiry_form::offer(&member.acting.tenant, preselected, zone(member), member.by().now),
        code: settings.code_actions.create_and_renew,
    }))
}

async fn page(member: &Member, form: Form) -> WebResult {
    let key = key_offer(member, &form).await?;
    let kinds: Result<_, StoreError> = member.read(|db: &mut Db, reach: &Reach| resources::kinds(db, reach.tenant())).await;
    let page = NewPage { frame: member.frame.clone(), crumbs: crumbs(member), action: action(member), back: base(member), kinds: kinds?, key, form };
    show_as(status_of(&page.form), &page)
}

/// `GET /t/{tenant}/access/resources/new`
pub async fn form(member: Member) -> WebResult {
    member.needs(Permission::AccessManage)?;
    let settings = &member.acting.tenant.settings;
    let (life, days) = expiry_form::value_of(lifetime::preselected(settings.default_lifetime, settings.maximum_days));
    let form = Form::filled([
        ("key", "no".to_owned()),
        ("owner", member.acting.id.to_string()),
        ("access", "same".into()),
        ("life", life),
        ("days", days.unwrap_or_else(|| settings.maximum_days.unwrap_or(30).min(30)).to_string()),
        ("form_id", base62(22, &mut chance::fill)),
    ]);
    page(&member, form).await
}

/// Reads what the resource is.
fn read_resource(form: &mut Form) -> Option<(Resource, String)> {
    let kind = form.parse("kind", |text| match format!("{}:*", text.trim()).parse::<ResourcePattern>() {
        Ok(ResourcePattern::Kind(kind)) => Ok(kind),
        _ => Err("Enter 1 to 40 of a–z, 0–9 and -, such as site."),
    });
    // The kind is judged on its own, so that its fault is not said of the name.
    let name = form.parse("name", |text| {
        let name = text.trim();
        format!("x:{name}").parse::<Resource>().map(|_| name.to_owned()).map_err(|_| "Enter 1 to 200 of A–Z, a–z, 0–9 and . _ / @ -")
    });
    let said = description(form);
    Some((Resource { kind: kind?, name: name? }, said?))
}

/// Reads what the key is to be.
fn read_key(form: &mut Form, resource: &Resource, zone: Tz) -> Result<Option<KeyWithIt>, WebError> {
    let owner: MemberId = form.text("owner").parse().map_err(|_| WebError::NotFound)?;
    let form_id = key_code::form_id(form)?;
    let access = form.parse("access", |text| match text {
        "same" => Ok(KeyAccess::Owner),
        role => role.parse::<AccessRoleId>().map(KeyAccess::Role).map_err(|_| "Choose what the key may do."),
    });
    let expiry: Option<Choice> = expiry_form::read(form, "life", zone);
    let (Some(access), Some(expiry)) = (access, expiry) else { return Ok(None) };
    let name: Option<KeyName> = resource.to_string().chars().take(100).collect::<String>().parse().ok();
    let key = KeyForm {
        name,
        comment: String::new(),
        access,
        resources: ResourceSet::Chosen(BTreeSet::from([ResourcePattern::One(resource.clone())])),
        ip_ranges: IpRanges::default(),
        notice_recipients: Vec::new(),
    };
    Ok(Some(KeyWithIt { owner, form: key, expiry, form_id }))
}

/// `POST /t/{tenant}/access/resources/new`
pub async fn create(member: Member, mut form: Form) -> WebResult {
    member.needs(Permission::AccessManage)?;
    form.only(&[
        "kind",
        "name",
        "description",
        "key",
        "owner",
        "find_owner",
        "found_owner",
        "access",
        "life",
        "days",
        "date",
        "form_id",
        "totp",
        "offer",
    ])?;
    if form.checked("offer") || form.searches("owner") {
        return page(&member, form).await;
    }
    if form.has("key", "yes") {
        return with_key(&member, form).await;
    }
    let Some((resource, said)) = read_resource(&mut form) else { return page(&member, form).await };
    let words = format!("Resource {resource} added.");
    match member.write(move |tx, by| access::create_resource(tx, by, &resource, &said)).await {
        Ok(()) => done(&member.site, &member.frame, &words, &base(&member)),
        Err(error) => again(&member, form, error).await,
    }
}

async fn with_key(member: &Member, mut form: Form) -> WebResult {
    member.needs(Permission::KeysManageOwn)?;
    let form_id = key_code::form_id(&form)?;
    if let Some(made) = key_code::made_before(member, &form_id).await? {
        return key_refused::sent_before(member, &made).await;
    }
    let read = read_resource(&mut form);
    // What is wrong with the key is said at once with what is wrong with the resource.
    let any = Resource { kind: "x".into(), name: "x".into() };
    let key = read_key(&mut form, read.as_ref().map_or(&any, |(resource, _)| resource), zone(member))?;
    let (Some((resource, said)), Some(key)) = (read, key) else { return page(member, form).await };
    let asks_code = member.acting.tenant.settings.code_actions.create_and_renew;
    let (code, named) = (form.text("totp").to_owned(), resource.clone());
    let made: Result<_, AccessError> = member
        .write(move |tx, by| {
            if !asks_code || code.trim().is_empty() {
                return access::create_resource_with_key(tx, by, &resource, &said, &key, None).map(Ok);
            }
            match credentials::confirm_code(tx, by, &code)? {
                Ok(proof) => access::create_resource_with_key(tx, by, &resource, &said, &key, Some(&proof)).map(Ok),
                Err(wrong) => Ok(Err(wrong)),
            }
        })
        .await;
    match made {
        Ok(Ok(Ok(made))) => show_token(member, &named, &made).await,
        Ok(Ok(Err(limit))) => without_key(member, &named, &limit),
        Ok(Err(CodeError::Ended)) => Err(WebError::SignIn),
        Ok(Err(wrong)) => {
            form.wrong("totp", wrong);
            page(member, form).await
        }
        Err(AccessError::Key(KeyError::AlreadyDone(made))) => key_refused::sent_before(member, &made).await,
        Err(error) => again(member, form, error).await,
    }
}

/// Shows the form again with what was refused at its field.
async fn again(member: &Member, mut form: Form, error: AccessError) -> WebResult {
    match error {
        // Whether the key can reach the resource is a matter of whose it is.
        AccessError::Key(error @ (KeyError::Resources(_) | KeyError::OwnerInactive)) => form.wrong("owner", error),
        AccessError::Key(error) => {
            if let Some(error) = key_fields::place(&mut form, error, "life") {
                return Err(refused(member, error.into()));
            }
        }
        error => place(member, &mut form, error, "name")?,
    }
    page(member, form).await
}

async fn show_token(member: &Member, resource: &Resource, made: &Made) -> WebResult {
    let facts = key_facts::find(member, made.key.id.as_str()).await;
    let list = facts.map_or_else(|_| Vec::new(), |facts| key_create::words(member, &facts));
    let lead = format!("The resource {resource} and a key that reaches it and nothing else are ready.");
    key_token::show(member, made.key.id, &made.token, lead, list, StatusCode::OK)
}

#[derive(Template)]
#[template(path = "access/no_key.html")]
struct NoKeyPage {
    frame: Frame,
    crumbs: Vec<Link>,
    resource: String,
    words: String,
    back: String,
}

fn without_key(member: &Member, resource: &Resource, limit: &KeyError) -> WebResult {
    show(&NoKeyPage {
        frame: member.frame.clone(),
        crumbs: crumbs(member),
        resource: resource.to_string(),
        words: limit.to_string(),
        back: base(member),
    })
}
