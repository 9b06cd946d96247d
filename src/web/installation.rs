//! The installation owner's tenants: how each of them is, making, renaming, suspending, and naming a Tenant admin.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Path};
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    key_token::instead_of_main,
    page::{Frame, Link, Question, Refusal, WebResult, ask, ask_as, done, html, refuse, show, status_of},
    session::Owner,
};
use crate::{
    actions::installation::{self as actions, Named, TenantError},
    domain::{
        names::{self, EmailAddress, Slug},
        time::date,
        token::Token,
    },
    store::{
        StoreError,
        grid::{Count, Tab},
        installation::{self as store, Numbers},
    },
};

/// How many tenants a page has.
const PAGE: usize = 50;
/// The list.
const LIST: &str = "/installation/tenants";
/// The most seats that can be set.
const MOST_SEATS: i64 = 1_000_000;

type Where = Path<String>;

struct Row {
    slug: String,
    name: String,
    url: String,
    keys_url: String,
    suspended: bool,
    keys_off: bool,
    admins: String,
    has_admin: bool,
    members: i64,
    keys: Count,
    active: Count,
    seats: String,
    /// The meter: its class and its width of 100.
    meter: Option<(&'static str, i64)>,
    created: String,
}

#[derive(Template)]
#[template(path = "installation/tenants.html")]
struct TenantsPage {
    frame: Frame,
    text: String,
    rows: Vec<Row>,
    total: usize,
    keys: Count,
    range: String,
    previous: String,
    next: String,
    any_suspended: bool,
}

fn row(numbers: Numbers) -> Row {
    let Numbers { tenant, admins, members, seats_used, keys } = numbers;
    let count_of = |tab: Tab| Tab::ALL.iter().position(|(t, ..)| *t == tab).map_or_else(Count::default, |at| keys[at]);
    let meter = tenant.seats.map(|seats| {
        let share = (seats_used * 100).checked_div(seats).unwrap_or(100).clamp(0, 100);
        (if seats_used >= seats { "w" } else { "" }, share)
    });
    let more = admins.len().saturating_sub(2);
    let named = admins.iter().take(2).map(String::as_str).collect::<Vec<_>>().join(", ");
    Row {
        url: format!("{LIST}/{}", tenant.slug),
        keys_url: format!("/installation/keys?tenant={}", tenant.slug),
        suspended: tenant.suspended_at.is_some(),
        keys_off: !tenant.settings.keys_enabled,
        has_admin: !admins.is_empty(),
        admins: if more > 0 { format!("{named} +{more}") } else { named },
        members,
        keys: count_of(Tab::All),
        active: count_of(Tab::Active),
        seats: tenant.seats.map_or_else(|| seats_used.to_string(), |seats| format!("{seats_used} of {seats}")),
        meter,
        created: date(tenant.created_at),
        slug: tenant.slug,
        name: tenant.name,
    }
}

/// `GET /installation/tenants`
pub async fn list(owner: Owner, req: HttpRequest) -> WebResult {
    let form = Form::from_query(&req)?;
    let text: String = form.text("q").trim().chars().take(100).collect();
    let (asked, at, now) = (text.clone(), form.text("at").to_owned(), owner.by().now);
    let found: Result<_, StoreError> = owner.read(move |db, reach| store::page(db, reach, &asked, &at, PAGE, now)).await;
    let found = found?;
    let place = |slug: Option<String>| {
        let fields = [("q", Some(text.clone()).filter(|text| !text.is_empty())), ("at", slug.clone())];
        let fields: Vec<(&str, String)> = fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        slug.map(|_| format!("{LIST}{}", super::keys_query::query(&fields))).unwrap_or_default()
    };
    let (previous, next) = (place(found.previous), place(found.next));
    let rows: Vec<Row> = found.tenants.into_iter().map(row).collect();
    let range = if rows.is_empty() { String::new() } else { format!("{}–{} of {}", found.before + 1, found.before + rows.len(), found.total) };
    let any_suspended = rows.iter().any(|row| row.suspended);
    show(&TenantsPage { frame: owner.frame.clone(), text, rows, total: found.total, keys: found.keys, range, previous, next, any_suspended })
}

fn crumbs() -> Vec<Link> {
    vec![Link::new("Tenants", LIST)]
}

async fn numbers(owner: &Owner, slug: &str) -> Result<Numbers, WebError> {
    let (slug, now) = (slug.to_owned(), owner.by().now);
    let found: Result<_, StoreError> = owner.read(move |db, reach| store::numbers(db, reach, &slug, now)).await;
    found?.ok_or(WebError::NotFound)
}

/// An error that no field can say.
fn failed(error: TenantError) -> WebError {
    match error {
        TenantError::NoSuchTenant | TenantError::NotAllowed => WebError::NotFound,
        TenantError::Store(error) => error.into(),
        other => WebError::BadRequest(format!("{other} Nothing was changed.")),
    }
}

fn read_name(form: &mut Form) -> Option<String> {
    form.parse("name", |text| names::line("Name", text, 1, 100))
}

#[allow(clippy::option_option)] // no bound is an answer, too
fn read_seats(form: &mut Form) -> Option<Option<i64>> {
    form.parse("seats", |text| match text.trim() {
        "" => Ok(None),
        text => text.parse().ok().filter(|n| (0..=MOST_SEATS).contains(n)).map(Some).ok_or("Enter a whole number from 0 to 1000000, or nothing."),
    })
}

#[derive(Template)]
#[template(path = "installation/new.html")]
struct NewBody<'a> {
    form: &'a Form,
}

fn new_question(owner: &Owner, form: &Form) -> WebResult {
    let question = Question {
        asks: "Create tenant".into(),
        action: format!("{LIST}/new"),
        submit: "Create tenant".into(),
        cancel: LIST.into(),
        crumbs: crumbs(),
        ..Question::default()
    };
    ask(&owner.frame, &question, form, &NewBody { form })
}

/// `GET /installation/tenants/new`
pub async fn ask_new(owner: Owner) -> WebResult {
    new_question(&owner, &Form::default())
}

/// `POST /installation/tenants/new`
pub async fn create(owner: Owner, mut form: Form) -> WebResult {
    form.only(&["name", "slug", "admin", "seats"])?;
    let name = read_name(&mut form);
    let slug = form.parse("slug", |text| text.trim().parse::<Slug>());
    let admin = form.parse("admin", str::parse::<EmailAddress>);
    let seats = read_seats(&mut form);
    let (Some(name), Some(slug), Some(admin), Some(seats)) = (name, slug, admin, seats) else { return new_question(&owner, &form) };
    let email = admin.to_string();
    match owner.write(move |tx, by| actions::create(tx, by, &slug, &name, &admin, seats)).await {
        Ok((tenant, token)) => invited(&owner, format!("{} is created", tenant.name), &email, &token),
        Err(error @ TenantError::AddressTaken) => {
            form.wrong("slug", error);
            new_question(&owner, &form)
        }
        Err(error @ TenantError::OwnerAddress) => {
            form.wrong("admin", error);
            new_question(&owner, &form)
        }
        Err(error) => Err(failed(error)),
    }
}

#[derive(Template)]
#[template(path = "installation/invited.html", blocks = ["invited"])]
struct InvitedPage {
    frame: Frame,
    title: String,
    email: String,
    link: String,
}

/// The direct answer that shows the link of an invitation, once.
fn invited(owner: &Owner, title: String, email: &str, token: &Token) -> WebResult {
    let link = format!("{}/invite/{}", owner.site.settings.public_url, token.reveal());
    let page = InvitedPage { frame: owner.frame.clone(), title, email: email.to_owned(), link };
    if owner.frame.fragment {
        return Ok(instead_of_main(StatusCode::OK, &page.as_invited().render()?, LIST));
    }
    Ok(html(StatusCode::OK, page.render()?))
}

#[derive(Template)]
#[template(path = "installation/edit.html")]
struct EditBody<'a> {
    form: &'a Form,
    newer: Vec<(&'static str, String)>,
    slug: &'a str,
    used: i64,
}

/// The form; where `changed`, with what the tenant is now.
fn edit_question(owner: &Owner, numbers: &Numbers, form: &Form, changed: bool) -> WebResult {
    let tenant = &numbers.tenant;
    let question = Question {
        asks: format!("Name and seats of {}", tenant.name),
        action: format!("{LIST}/{}/edit", tenant.slug),
        submit: "Save tenant".into(),
        cancel: LIST.into(),
        crumbs: crumbs(),
        ..Question::default()
    };
    let newer = if changed {
        vec![("Name", tenant.name.clone()), ("Seats", tenant.seats.map_or_else(|| "No limit".to_owned(), |seats| seats.to_string()))]
    } else {
        Vec::new()
    };
    let mut form = form.clone();
    if changed || !form.checked("seen") {
        form.set("seen", tenant.mark());
    }
    let form = &form;
    let body = EditBody { form, newer, slug: &tenant.slug, used: numbers.seats_used };
    ask_as(if changed { StatusCode::CONFLICT } else { status_of(form) }, &owner.frame, &question, form, &body)
}

/// `GET /installation/tenants/{slug}/edit`
pub async fn ask_edit(owner: Owner, slug: Where) -> WebResult {
    let numbers = numbers(&owner, &slug).await?;
    let seats = numbers.tenant.seats.map(|seats| seats.to_string()).unwrap_or_default();
    let form = Form::filled([("name", numbers.tenant.name.clone()), ("seats", seats)]);
    edit_question(&owner, &numbers, &form, false)
}

/// `POST /installation/tenants/{slug}/edit`
pub async fn edit(owner: Owner, slug: Where, mut form: Form) -> WebResult {
    form.only(&["name", "seats", "seen"])?;
    let (Some(name), Some(seats)) = (read_name(&mut form), read_seats(&mut form)) else {
        return edit_question(&owner, &numbers(&owner, &slug).await?, &form, false);
    };
    let (at, seen) = (slug.to_string(), form.text("seen").to_owned());
    match owner.write(move |tx, by| actions::change(tx, by, &at, &name, seats, &seen)).await {
        Ok(()) => done(&owner.site, &owner.frame, "Tenant saved.", LIST),
        Err(TenantError::Changed) => edit_question(&owner, &numbers(&owner, &slug).await?, &form, true),
        Err(error) => Err(failed(error)),
    }
}

#[derive(Template)]
#[template(path = "installation/admin.html")]
struct AdminBody<'a> {
    form: &'a Form,
    name: &'a str,
}

fn admin_question(owner: &Owner, numbers: &Numbers, form: &Form) -> WebResult {
    let tenant = &numbers.tenant;
    let question = Question {
        asks: format!("Name a Tenant admin of {}", tenant.name),
        action: format!("{LIST}/{}/admin", tenant.slug),
        submit: "Name Tenant admin".into(),
        cancel: LIST.into(),
        crumbs: crumbs(),
        ..Question::default()
    };
    ask(&owner.frame, &question, form, &AdminBody { form, name: &tenant.name })
}

/// 409: a tenant that has an active Tenant admin names others itself.
fn has_admin(owner: &Owner, numbers: &Numbers) -> WebResult {
    let refusal = Refusal {
        title: format!("{} has a Tenant admin", numbers.tenant.name),
        words: format!("{} Nothing was changed.", TenantError::HasAdmin),
        crumbs: crumbs(),
        ways: vec![Link::new("Tenants", LIST)],
    };
    refuse(&owner.frame, &refusal)
}

/// `GET /installation/tenants/{slug}/admin`
pub async fn ask_admin(owner: Owner, slug: Where) -> WebResult {
    let numbers = numbers(&owner, &slug).await?;
    if !numbers.admins.is_empty() {
        return has_admin(&owner, &numbers);
    }
    admin_question(&owner, &numbers, &Form::default())
}

/// `POST /installation/tenants/{slug}/admin`
pub async fn name_admin(owner: Owner, slug: Where, mut form: Form) -> WebResult {
    form.only(&["admin"])?;
    let Some(admin) = form.parse("admin", str::parse::<EmailAddress>) else {
        return admin_question(&owner, &numbers(&owner, &slug).await?, &form);
    };
    let (at, email) = (slug.to_string(), admin.to_string());
    match owner.write(move |tx, by| actions::name_admin(tx, by, &at, &admin)).await {
        Ok(Named::Member(name)) => done(&owner.site, &owner.frame, &format!("{name} is a Tenant admin now."), LIST),
        Ok(Named::Invited(token)) => invited(&owner, "The Tenant admin is invited".into(), &email, &token),
        Err(error @ (TenantError::OwnerAddress | TenantError::MemberSuspended | TenantError::Bounds(_))) => {
            form.wrong("admin", error);
            admin_question(&owner, &numbers(&owner, &slug).await?, &form)
        }
        Err(TenantError::HasAdmin) => has_admin(&owner, &numbers(&owner, &slug).await?),
        Err(error) => Err(failed(error)),
    }
}

#[derive(Template)]
#[template(path = "installation/suspend.html")]
struct SuspendBody {
    suspend: bool,
    members: i64,
    active: Count,
    keys_off: bool,
}

async fn ask_suspended(owner: &Owner, slug: &str, suspend: bool) -> WebResult {
    let numbers = numbers(owner, slug).await?;
    let name = &numbers.tenant.name;
    let question = Question {
        asks: if suspend { format!("Suspend {name}?") } else { format!("Bring back {name}?") },
        action: format!("{LIST}/{slug}/{}", if suspend { "suspend" } else { "restore" }),
        submit: if suspend { "Suspend tenant" } else { "Bring back tenant" }.into(),
        danger: suspend,
        cancel: LIST.into(),
        crumbs: crumbs(),
        ..Question::default()
    };
    let active = Tab::ALL.iter().position(|(tab, ..)| *tab == Tab::Active).map_or_else(Count::default, |at| numbers.keys[at]);
    let body = SuspendBody { suspend, members: numbers.members, active, keys_off: !numbers.tenant.settings.keys_enabled };
    ask(&owner.frame, &question, &Form::default(), &body)
}

async fn set_suspended(owner: &Owner, slug: String, mut form: Form, suspend: bool) -> Result<HttpResponse, WebError> {
    form.only(&[])?;
    let tenant = owner.write(move |tx, by| actions::set_suspended(tx, by, &slug, suspend)).await.map_err(failed)?;
    let words = if suspend { format!("{} is suspended.", tenant.name) } else { format!("{} is back.", tenant.name) };
    done(&owner.site, &owner.frame, &words, LIST)
}

/// `GET /installation/tenants/{slug}/suspend`
pub async fn ask_suspend(owner: Owner, slug: Where) -> WebResult {
    ask_suspended(&owner, &slug, true).await
}

/// `POST /installation/tenants/{slug}/suspend`
pub async fn suspend(owner: Owner, slug: Where, form: Form) -> WebResult {
    set_suspended(&owner, slug.into_inner(), form, true).await
}

/// `GET /installation/tenants/{slug}/restore`
pub async fn ask_restore(owner: Owner, slug: Where) -> WebResult {
    ask_suspended(&owner, &slug, false).await
}

/// `POST /installation/tenants/{slug}/restore`
pub async fn restore(owner: Owner, slug: Where, form: Form) -> WebResult {
    set_suspended(&owner, slug.into_inner(), form, false).await
}
