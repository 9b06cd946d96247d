//! The page behind the link that `keyward serve` prints while there is no installation owner.

use actix_web::{
    HttpRequest,
    http::StatusCode,
    web::{Data, Path},
};
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    guard,
    page::{Frame, WebResult, html, show, show_as, status_of},
    password::{dead_link, new_password, with_token},
    sign_in::set_session,
    site::Site,
};
use crate::{
    actions::{
        By, Who, credentials,
        set_up::{self, SetUp},
    },
    domain::{
        names::{EmailAddress, Slug, line},
        token::Purpose,
    },
    store::StoreError,
};

const DEAD: &str = "Keyward has been set up already, the hour of the link is over, or keyward serve has printed a newer one.";
const FIELDS: [&str; 8] = ["owner_name", "owner_email", "new_password", "tenant", "slug", "member_name", "member_email", "keys"];

#[derive(Template)]
#[template(path = "sign_in/set_up.html")]
struct SetUpPage {
    frame: Frame,
    form: Form,
    action: String,
}

#[derive(Template)]
#[template(path = "sign_in/set_up_done.html")]
struct ReadyPage {
    frame: Frame,
    member_email: String,
    link: Option<String>,
}

async fn is_open(site: &Site, token: &str) -> Result<bool, WebError> {
    let hash = credentials::link_hash(&site.secrets, Purpose::SetUp, token);
    let now = site.clock.now();
    let open: Result<bool, StoreError> = site.read(move |db| set_up::is_open(db, &hash, now)).await;
    Ok(open?)
}

fn page(req: &HttpRequest, form: Form, token: &str) -> SetUpPage {
    SetUpPage { frame: Frame::bare(req), form, action: format!("/setup/{token}") }
}

/// `GET /setup/{token}`: shows, and changes nothing.
pub async fn ask(req: HttpRequest, site: Data<Site>, token: Path<String>) -> WebResult {
    if !is_open(&site, &token).await? {
        return dead_link(&req, DEAD);
    }
    show(&page(&req, Form::default(), &token)).map(with_token)
}

/// `POST /setup/{token}`
pub async fn finish(req: HttpRequest, site: Data<Site>, token: Path<String>, mut form: Form) -> WebResult {
    form.only(&FIELDS)?;
    if !is_open(&site, &token).await? {
        return dead_link(&req, DEAD);
    }
    let owner_name = form.parse("owner_name", |text| line("Name", text, 1, 100));
    let owner_email = form.parse("owner_email", str::parse::<EmailAddress>);
    let tenant_name = form.parse("tenant", |text| line("Name", text, 1, 100));
    let slug = form.parse("slug", |text| text.trim().parse::<Slug>());
    let member_name = form.parse("member_name", |text| line("Name", text, 1, 100));
    let member_email = form.parse("member_email", str::parse::<EmailAddress>);
    if let (Some(owner), Some(member)) = (&owner_email, &member_email)
        && owner.canonical() == member.canonical()
    {
        form.wrong("member_email", "Enter another address: the installation owner is a member of no tenant.");
    }
    let context = FIELDS.iter().filter(|name| **name != "new_password").map(|name| form.text(name).to_owned()).collect();
    // The owner has to set up two-step sign-in, so the shorter passwords will do.
    let password = match new_password(&site, form.text("new_password"), true, context).await? {
        Ok(password) => Some(password),
        Err(wrong) => {
            form.wrong("new_password", wrong);
            None
        }
    };
    let (Some(owner_name), Some(owner_email), Some(owner_password), Some(tenant_name), Some(slug), Some(member_name), Some(member_email), false) =
        (owner_name, owner_email, password, tenant_name, slug, member_name, member_email, form.has_errors())
    else {
        return show_as(status_of(&form), &page(&req, form, &token)).map(with_token);
    };
    let shown_email = member_email.to_string();
    let what = SetUp { owner_name, owner_email, owner_password, tenant_name, slug, keys_enabled: form.checked("keys"), member_name, member_email };
    let by = By {
        who: Who::Link("the set-up link".into()),
        address: site.address(&req),
        user_agent: site.user_agent(&req),
        now: site.clock.now(),
        session: None,
    };
    let token = token.into_inner();
    let ready: Result<_, StoreError> = site
        .write(move |tx| {
            let by = By { now: tx.now(), ..by };
            set_up::finish(tx, &by, &token, &what)
        })
        .await;
    let Some(ready) = ready? else { return dead_link(&req, DEAD) };
    let link = ready.reset.map(|token| format!("{}/password/reset/{}", site.settings.public_url.trim_end_matches('/'), token.reveal()));
    let frame = Frame { csrf: guard::token_for(&site, &ready.opened.cookie), ..Frame::bare(&req) };
    let mut answer = html(StatusCode::OK, ReadyPage { frame, member_email: shown_email, link }.render()?);
    set_session(&site, &mut answer, &ready.opened)?;
    Ok(with_token(answer))
}
