//! The page behind an invitation. It looks the same whether or not the address has an account.

use actix_web::{
    FromRequest as _, HttpRequest, HttpResponse,
    web::{Data, Path},
};
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    page::{Frame, WebResult, done, show_as, status_of},
    password::{dead_link, new_password, with_token},
    session::{Arriving, SignedIn, anyone},
    sign_in::{set_session, with_next},
    site::Site,
};
use crate::{
    actions::{
        By, Who,
        credentials::link_hash,
        invitations::{self, JoinError, Open},
    },
    domain::{names::line, password::SHORTEST, time, token::Purpose},
    store::StoreError,
};

const DEAD: &str = "It was used, withdrawn or replaced by a newer one, or its 72 hours are over. Ask whoever invited you for another.";

#[derive(Template)]
#[template(path = "members/join.html")]
struct JoinPage {
    frame: Frame,
    form: Form,
    action: String,
    tenant: String,
    inviter: String,
    email: String,
    roles: String,
    until: String,
    shortest: usize,
    sign_in: String,
    /// The name and address of who is signed in.
    person: Option<(String, String)>,
    is_theirs: bool,
}

async fn open(site: &Site, token: &str) -> Result<Option<Open>, WebError> {
    let hash = link_hash(&site.secrets, Purpose::Invite, token);
    let now = site.clock.now();
    let found: Result<_, StoreError> = site.read(move |db| invitations::find(db, &hash, now)).await;
    Ok(found?)
}

fn page(frame: Frame, open: &Open, token: &str, form: Form, person: Option<&Arriving>) -> WebResult {
    let page = JoinPage {
        action: format!("/invite/{token}"),
        tenant: open.tenant.name.clone(),
        inviter: if open.offer.by_name.is_empty() { "The installation owner".into() } else { open.offer.by_name.clone() },
        email: open.offer.email.to_string(),
        roles: if open.role_names.is_empty() { "None".into() } else { open.role_names.join(", ") },
        until: time::date_time(open.expires_at),
        shortest: if open.tenant.settings.require_totp { 8 } else { SHORTEST },
        sign_in: with_next("/login", &format!("/invite/{token}")),
        is_theirs: person.is_some_and(|person| person.account.email_canonical == open.offer.email.canonical()),
        person: person.map(|person| (person.account.name.clone(), person.account.email.clone())),
        // A card on its own, without the bar of the console.
        frame: Frame { person: None, ..frame },
        form,
    };
    show_as(status_of(&page.form), &page).map(with_token)
}

async fn signed_in(req: &HttpRequest) -> Result<Option<SignedIn>, WebError> {
    if anyone(req).await.is_none() {
        return Ok(None);
    }
    SignedIn::extract(req).await.map(Some)
}

fn frame_for(req: &HttpRequest, person: Option<&SignedIn>) -> Frame {
    person.map_or_else(|| Frame::bare(req), |person| person.frame.clone())
}

/// `GET /invite/{token}`: shows, and changes nothing.
pub async fn ask(req: HttpRequest, site: Data<Site>, token: Path<String>) -> WebResult {
    site.slow_down(&req)?;
    let Some(open) = open(&site, &token).await? else { return dead_link(&req, DEAD) };
    let person = signed_in(&req).await?;
    page(frame_for(&req, person.as_ref()), &open, &token, Form::default(), person.as_deref())
}

/// `POST /invite/{token}`
pub async fn join(req: HttpRequest, site: Data<Site>, token: Path<String>, form: Form) -> WebResult {
    site.slow_down(&req)?;
    let Some(open) = open(&site, &token).await? else { return dead_link(&req, DEAD) };
    let token = token.into_inner();
    match signed_in(&req).await? {
        Some(person) => join_as(&req, &open, token, form, &person).await,
        None => join_new(&req, &site, &open, token, form).await,
    }
}

async fn join_as(req: &HttpRequest, open: &Open, token: String, mut form: Form, person: &SignedIn) -> WebResult {
    form.only(&[])?;
    let (account, used) = (person.account.clone(), token.clone());
    let joined: Result<_, JoinError> = person.write(move |tx, by| invitations::join_as(tx, by, &used, &account)).await;
    match joined {
        Ok(tenant) => done(&person.site, &person.frame, &format!("You joined {}.", tenant.name), &format!("/profile?tenant={}", tenant.slug)),
        Err(JoinError::Dead) => dead_link(req, DEAD),
        Err(JoinError::Store(error)) => Err(error.into()),
        Err(error) => {
            form.wrong("", error);
            page(person.frame.clone(), open, &token, form, Some(person))
        }
    }
}

async fn join_new(req: &HttpRequest, site: &Data<Site>, open: &Open, token: String, mut form: Form) -> WebResult {
    form.only(&["name", "new_password"])?;
    let name = form.parse("name", |text| line("Name", text, 1, 100));
    let context = vec![open.offer.email.to_string(), form.text("name").to_owned(), open.tenant.name.clone(), open.tenant.slug.clone()];
    let password = match new_password(site, form.text("new_password"), open.tenant.settings.require_totp, context).await? {
        Ok(password) => Some(password),
        Err(wrong) => {
            form.wrong("new_password", wrong);
            None
        }
    };
    let (Some(name), Some(password)) = (name, password) else { return page(Frame::bare(req), open, &token, form, None) };
    let by = By {
        who: Who::Link("an invitation".into()),
        address: site.address(req),
        user_agent: site.user_agent(req),
        now: site.clock.now(),
        session: None,
    };
    let used = token.clone();
    let joined: Result<_, JoinError> = site
        .write(move |tx| {
            let by = By { now: tx.now(), ..by };
            invitations::join_new(tx, &by, &used, &name, &password)
        })
        .await;
    match joined {
        Ok((opened, tenant)) => {
            let mut answer: HttpResponse =
                done(site, &Frame::bare(req), &format!("You joined {}.", tenant.name), &format!("/profile?tenant={}", tenant.slug))?;
            set_session(site, &mut answer, &opened)?;
            Ok(answer)
        }
        Err(JoinError::Dead) => dead_link(req, DEAD),
        Err(JoinError::Store(error)) => Err(error.into()),
        Err(error) => {
            form.wrong("", error);
            page(Frame::bare(req), open, &token, form, None)
        }
    }
}
