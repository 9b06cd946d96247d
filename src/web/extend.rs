//! The link of an expiry notice: shows, and extends when a person presses the button. Nobody signs in, and the page shows no more
//! than the mail did. The address in the mail leads on to one without the token ([`super::opened_links`]).

use actix_web::{
    HttpRequest,
    http::StatusCode,
    web::{Data, Path},
};
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    opened_links::{address, find, keep},
    page::{Frame, WebResult, show, show_as},
    password::with_token,
    session::anyone,
    site::Site,
};
use crate::{
    actions::{
        By, Who,
        extend::{self, LinkError},
    },
    domain::{key::Key, notice::NoExtension, time::date_time},
    store::{
        StoreError,
        extensions::{self, Linked},
        members,
    },
};

/// What any of these pages says of the key: never whose it is.
struct Facts {
    name: String,
    id: String,
    tenant: String,
}

impl Facts {
    fn of(linked: &Linked) -> Self {
        Self { name: linked.name.clone(), id: linked.notice.key.to_string(), tenant: linked.tenant.name.clone() }
    }
}

#[derive(Template)]
#[template(path = "extend/page.html")]
struct ExtendPage {
    frame: Frame,
    action: String,
    key: Facts,
    now: String,
    after: String,
    /// For a signed-in owner: the address of Roll.
    roll: Option<String>,
    /// Whether this recipient may say *No more of these*.
    may_stop: bool,
}

#[derive(Template)]
#[template(path = "extend/done.html")]
struct DonePage {
    frame: Frame,
    key: Facts,
    after: String,
    roll: Option<String>,
}

#[derive(Template)]
#[template(path = "extend/dead.html")]
struct DeadPage {
    frame: Frame,
    words: String,
    key: Option<Facts>,
    roll: Option<String>,
    /// Where this recipient may say *No more of these*.
    stop: Option<String>,
}

#[derive(Template)]
#[template(path = "extend/stop.html")]
struct StopPage {
    frame: Frame,
    action: String,
    key: Facts,
    address: String,
}

#[derive(Template)]
#[template(path = "extend/stopped.html")]
struct StoppedPage {
    frame: Frame,
    key: Facts,
    address: String,
}

struct Seen {
    linked: Linked,
    /// For a signed-in owner who may roll the key: where.
    roll: Option<String>,
}

/// What the link leads to, for whoever follows it; `None` for a link that was never sent.
async fn look(req: &HttpRequest, site: &Site, token: &str) -> Result<Option<Seen>, WebError> {
    site.slow_down(req)?;
    seen(req, site, token).await
}

/// As [`look`], for a token that this browser has kept, and that was counted when it was opened.
async fn look_again(req: &HttpRequest, site: &Site, token: &str) -> Result<Option<Seen>, WebError> {
    let seen = seen(req, site, token).await?;
    if seen.is_none() {
        site.slow_down(req)?;
    }
    Ok(seen)
}

async fn seen(req: &HttpRequest, site: &Site, token: &str) -> Result<Option<Seen>, WebError> {
    let (secrets, token) = (site.secrets.clone(), token.to_owned());
    let account = anyone(req).await;
    let seen: Result<_, StoreError> = site
        .read(move |db| {
            let Some(notice) = extensions::notice(db, &secrets, &token)? else { return Ok(None) };
            let linked = extensions::linked(db, notice)?;
            let acting = match account {
                Some(account) => members::acting(db, &linked.tenant.slug, account)?,
                None => None,
            };
            let may_roll = |owner| acting.as_ref().is_some_and(|acting| acting.owns(owner) && acting.may_manage(owner));
            let roll = linked
                .key
                .as_ref()
                .filter(|(key, owner)| key.life.revoked_at.is_none() && may_roll(owner.id))
                .map(|(key, _)| format!("/t/{}/keys/{}/roll", linked.tenant.slug, key.id));
            Ok(Some(Seen { linked, roll }))
        })
        .await;
    Ok(seen?)
}

fn by(req: &HttpRequest, site: &Site) -> By {
    By { who: Who::System, address: site.address(req), user_agent: site.user_agent(req), now: site.clock.now(), session: None }
}

/// Why a link does nothing: 410 with what happened, or 404 for one that was never sent.
fn dead(req: &HttpRequest, seen: Option<&Seen>, error: &LinkError) -> WebResult {
    let status = if matches!(error, LinkError::Unknown) { StatusCode::NOT_FOUND } else { StatusCode::GONE };
    let may_stop = seen.filter(|seen| extend::may_stop(&seen.linked).is_ok());
    let page = DeadPage {
        frame: Frame::bare(req),
        words: error.to_string(),
        key: seen.map(|seen| Facts::of(&seen.linked)),
        roll: seen.and_then(|seen| seen.roll.clone()).filter(|_| !matches!(error, LinkError::Deleted | LinkError::No(NoExtension::KeysOff))),
        stop: may_stop.map(|seen| format!("{}/stop", action_of(seen))),
    };
    show_as(status, &page).map(with_token)
}

fn action_of(seen: &Seen) -> String {
    address(seen.linked.notice.id.0)
}

/// The address of a page whose token this browser has not kept.
fn not_kept(req: &HttpRequest) -> WebResult {
    let words = "This browser keeps a link for an hour after it was opened, and only where it accepts cookies. Open the link in the mail again.";
    let page = DeadPage { frame: Frame::bare(req), words: words.into(), key: None, roll: None, stop: None };
    show_as(StatusCode::NOT_FOUND, &page).map(with_token)
}

/// `GET /extend/{token}`: leads to the page of the link, and changes nothing.
pub async fn open(req: HttpRequest, site: Data<Site>, token: Path<String>) -> WebResult {
    let Some(seen) = look(&req, &site, &token).await? else { return dead(&req, None, &LinkError::Unknown) };
    keep(&req, &site, &token, seen.linked.notice.id.0, "")
}

/// `GET /extend/{token}/stop`: the same for *No more of these*.
pub async fn open_stop(req: HttpRequest, site: Data<Site>, token: Path<String>) -> WebResult {
    let Some(seen) = look(&req, &site, &token).await? else { return dead(&req, None, &LinkError::Unknown) };
    keep(&req, &site, &token, seen.linked.notice.id.0, "/stop")
}

/// `GET /extend/open/{notice}`: shows, and changes nothing.
pub async fn ask(req: HttpRequest, site: Data<Site>, notice: Path<i64>) -> WebResult {
    let Some(token) = find(&req, &site, *notice) else { return not_kept(&req) };
    let Some(seen) = look_again(&req, &site, &token).await? else { return dead(&req, None, &LinkError::Unknown) };
    let after: Key = match extend::offer(&seen.linked, site.clock.now()) {
        Ok(after) => after,
        Err(error) => return dead(&req, Some(&seen), &error),
    };
    let page = ExtendPage {
        frame: Frame::bare(&req),
        action: action_of(&seen),
        key: Facts::of(&seen.linked),
        now: date_time(seen.linked.notice.expires_at),
        after: after.life.expires_at.map(date_time).unwrap_or_default(),
        may_stop: extend::may_stop(&seen.linked).is_ok(),
        roll: seen.roll,
    };
    show(&page).map(with_token)
}

/// `POST /extend/open/{notice}`
pub async fn extend(req: HttpRequest, site: Data<Site>, notice: Path<i64>, form: Form) -> WebResult {
    let Some(token) = find(&req, &site, *notice) else { return not_kept(&req) };
    extend_by(&req, &site, token, form).await
}

/// `POST /extend/{token}`, for programs that keep no cookie.
pub async fn extend_now(req: HttpRequest, site: Data<Site>, token: Path<String>, form: Form) -> WebResult {
    extend_by(&req, &site, token.into_inner(), form).await
}

async fn extend_by(req: &HttpRequest, site: &Site, token: String, mut form: Form) -> WebResult {
    form.only(&[])?;
    let Some(seen) = look(req, site, &token).await? else { return dead(req, None, &LinkError::Unknown) };
    let by = by(req, site);
    match site.write(move |tx| extend::extend(tx, &By { now: tx.now(), ..by }, &token)).await {
        Ok(done) => {
            let page = DonePage { frame: Frame::bare(req), key: Facts::of(&done.linked), after: date_time(done.to), roll: seen.roll };
            show(&page).map(with_token)
        }
        Err(LinkError::Store(error)) => Err(error.into()),
        Err(error) => dead(req, Some(&seen), &error),
    }
}

/// `GET /extend/open/{notice}/stop`: asks an extra recipient whether they want no more notices of the key.
pub async fn ask_stop(req: HttpRequest, site: Data<Site>, notice: Path<i64>) -> WebResult {
    let Some(token) = find(&req, &site, *notice) else { return not_kept(&req) };
    let Some(seen) = look_again(&req, &site, &token).await? else { return dead(&req, None, &LinkError::Unknown) };
    if let Err(error) = extend::may_stop(&seen.linked) {
        return dead(&req, Some(&seen), &error);
    }
    let page = StopPage {
        frame: Frame::bare(&req),
        action: format!("{}/stop", action_of(&seen)),
        key: Facts::of(&seen.linked),
        address: seen.linked.notice.recipient.clone(),
    };
    show(&page).map(with_token)
}

/// `POST /extend/open/{notice}/stop`
pub async fn stop(req: HttpRequest, site: Data<Site>, notice: Path<i64>, form: Form) -> WebResult {
    let Some(token) = find(&req, &site, *notice) else { return not_kept(&req) };
    stop_by(&req, &site, token, form).await
}

/// `POST /extend/{token}/stop`: mail programs post here, without a form (RFC 8058).
pub async fn stop_now(req: HttpRequest, site: Data<Site>, token: Path<String>, form: Form) -> WebResult {
    stop_by(&req, &site, token.into_inner(), form).await
}

async fn stop_by(req: &HttpRequest, site: &Site, token: String, mut form: Form) -> WebResult {
    form.only(&["List-Unsubscribe"])?;
    let Some(seen) = look(req, site, &token).await? else { return dead(req, None, &LinkError::Unknown) };
    let by = by(req, site);
    // A person says it of one key, a mail program of the whole mail.
    let whole_mail = form.text("List-Unsubscribe") == "One-Click";
    let stopped = site.write(move |tx| {
        let by = By { now: tx.now(), ..by };
        if whole_mail { extend::stop_all(tx, &by, &token) } else { extend::stop(tx, &by, &token) }
    });
    match stopped.await {
        Ok(linked) => {
            let page = StoppedPage { frame: Frame::bare(req), key: Facts::of(&linked), address: linked.notice.recipient.clone() };
            show(&page).map(with_token)
        }
        Err(LinkError::Store(error)) => Err(error.into()),
        Err(error) => dead(req, Some(&seen), &error),
    }
}
