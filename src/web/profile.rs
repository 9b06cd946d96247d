//! A person's own page: keys, two-step sign-in, sessions, password, tenants, preferences.

use actix_web::{HttpRequest, web::Path};
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    keys_own::OwnKeys,
    page::{Frame, WebResult, add_cookie, done, show, show_as, status_of},
    session::SignedIn,
    session_lines::{self, SessionLine},
    site::Look,
};
use crate::{
    actions::credentials,
    domain::ids::KeyId,
    store::{StoreError, accounts, members, sessions},
};

#[derive(Template)]
#[template(path = "profile/page.html")]
struct ProfilePage {
    frame: Frame,
    form: Form,
    /// The table of own keys, rendered.
    keys: Option<String>,
    codes_left: i64,
    sessions: Vec<SessionLine>,
    tenants: Vec<TenantLine>,
    zones: Vec<&'static str>,
}

struct TenantLine {
    slug: String,
    name: String,
    roles: String,
    current: bool,
}

async fn page(person: &SignedIn, form: Form, at: &str) -> Result<ProfilePage, WebError> {
    let id = person.account.id;
    let (here, shown) = (person.tenants.clone(), person.acting.as_ref().map(|acting| acting.tenant.id));
    let read: Result<_, StoreError> = person
        .read(move |db| {
            let mut tenants = Vec::new();
            for tenant in here {
                let roles = members::acting(db, &tenant.slug, id)?.map(|acting| acting.role_names.join(", ")).unwrap_or_default();
                tenants.push(TenantLine { current: shown == Some(tenant.tenant), slug: tenant.slug, name: tenant.name, roles });
            }
            Ok((accounts::recovery_codes_left(db, id)?, sessions::of_account(db, id)?, tenants))
        })
        .await;
    let (codes_left, list, tenants) = read?;
    let sessions = session_lines::open(list, &person.site, Some(&person.session.id));
    Ok(ProfilePage { frame: person.frame.clone(), form, keys: own_keys(person, at).await?, codes_left, sessions, tenants, zones: zones() })
}

/// The card of own keys in the tenant that the page is about; `None` for who has none and may have none.
async fn own_keys(person: &SignedIn, at: &str) -> Result<Option<String>, WebError> {
    let Some(acting) = person.acting.clone() else { return Ok(None) };
    let (at, now, may) = (at.to_owned(), person.site.clock.now(), person.frame.has_keys);
    let keys: Result<OwnKeys, StoreError> = person.read(move |db| OwnKeys::read(db, &acting, &at, now)).await;
    let keys = keys?;
    if keys.is_empty && !may { Ok(None) } else { Ok(Some(keys.html(&person.frame)?)) }
}

/// Names of places; the others are old names of the same zones.
fn zones() -> Vec<&'static str> {
    let real = ["Africa/", "America/", "Antarctica/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/"];
    let named = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()).filter(|name| real.iter().any(|area| name.starts_with(area)));
    std::iter::once("UTC").chain(named).collect()
}

fn preferences(person: &SignedIn) -> Form {
    let account = &person.account;
    let mut values = vec![("theme", account.theme.clone()), ("time_zone", account.time_zone.clone())];
    if account.shortcuts {
        values.push(("shortcuts", "on".to_owned()));
    }
    Form::filled(values)
}

/// `GET /profile`
pub async fn show_profile(req: HttpRequest, person: SignedIn) -> WebResult {
    let mut query = Form::from_query(&req)?;
    query.only(&["tenant", "at"])?;
    if query.checked("tenant") && person.acting.is_none() {
        return Err(WebError::NotFound);
    }
    show(&page(&person, preferences(&person), query.text("at")).await?)
}

/// `POST /profile/preferences`
pub async fn save_preferences(person: SignedIn, mut form: Form) -> WebResult {
    form.only(&["theme", "time_zone", "shortcuts"])?;
    let theme = ["system", "light", "dark"].into_iter().find(|known| *known == form.text("theme"));
    if theme.is_none() {
        form.wrong("theme", "Choose System, Light or Dark.");
    }
    let zone = form.parse("time_zone", |text| text.parse::<chrono_tz::Tz>().map_err(|_| "Choose a time zone from the list."));
    let (Some(theme), Some(zone)) = (theme, zone) else { return show_as(status_of(&form), &page(&person, form, "").await?) };
    let (id, shortcuts) = (person.account.id, form.checked("shortcuts"));
    let saved: Result<(), StoreError> = person.write(move |tx, _| accounts::set_look(tx, id, theme, shortcuts, zone.name())).await;
    saved?;
    let mut answer = done(&person.site, &person.frame, "Preferences saved.", &person.frame.profile)?;
    add_cookie(&mut answer, &person.site.look_cookie(&Look { theme: theme.to_owned(), shortcuts }))?;
    Ok(answer)
}

/// `POST /profile/sessions/{session}/end`
pub async fn end_session(person: SignedIn, session: Path<String>, mut form: Form) -> WebResult {
    form.only(&[])?;
    let session = KeyId::parse(&session).ok_or(WebError::NotFound)?;
    let account = person.account.clone();
    let ended: Result<bool, StoreError> = person.write(move |tx, by| credentials::end_session(tx, by, &account, &session)).await;
    let words = if ended? { "Session ended." } else { "That session had ended already." };
    done(&person.site, &person.frame, words, &person.frame.profile)
}

/// `POST /profile/sessions/end`
pub async fn end_others(person: SignedIn, mut form: Form) -> WebResult {
    form.only(&[])?;
    let account = person.account.clone();
    let ended: Result<usize, StoreError> = person.write(move |tx, by| credentials::end_other_sessions(tx, by, &account)).await;
    let words = match ended? {
        0 => "There was no other session.".to_owned(),
        1 => "1 other session ended.".to_owned(),
        count => format!("{count} other sessions ended."),
    };
    done(&person.site, &person.frame, &words, &person.frame.profile)
}
