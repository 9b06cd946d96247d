//! What every page request passes: the right host, no change without a form of this very session, headers that keep a browser
//! from doing more than pages need, and error pages in place of bare errors.
//!
//! A change must come from the same origin (`Sec-Fetch-Site`, else `Origin`) and carry a token: a nonce and an HMAC over it and
//! the session (before signing in: a cookie of its own), so that it differs in every answer.

use actix_web::{
    HttpMessage as _, HttpRequest, HttpResponse, ResponseError as _,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, StatusCode, header},
    middleware::Next,
    web::{Bytes, Data},
};
use askama::Template;

use super::{
    error::WebError,
    form::Body,
    page::Frame,
    press::press,
    sign_in::safe_next,
    site::{CookieName, Site},
};
use crate::{chance, domain::token::Purpose};

/// The largest body of a form.
const LARGEST_BODY: usize = 64 * 1024;

/// How long a form may take to arrive.
const BODY_PATIENCE: std::time::Duration = std::time::Duration::from_secs(15);
/// The longest address.
const LONGEST_ADDRESS: usize = 8 * 1024;

/// What a form's token is tied to: the session's cookie, or the one before it.
#[derive(Clone)]
struct Tied {
    to: String,
    new: bool,
}

/// The middleware around every page.
pub async fn guard(mut req: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let Some(site) = req.app_data::<Data<Site>>().cloned() else {
        return Ok(req.into_response(HttpResponse::InternalServerError().finish()));
    };
    tie(&req, &site);
    let mut res = match check(&mut req, &site).await {
        Ok(()) => next.call(req).await?.map_into_boxed_body(),
        Err(error) => req.error_response(error),
    };
    let request = res.request().clone();
    if res.status().as_u16() >= 400 || res.response().error().is_some() {
        res = put_page(res, &request);
    }
    finish(&mut res, &request, &site);
    Ok(press(res).await)
}

fn tie(req: &ServiceRequest, site: &Site) {
    let known = site.cookie_of(req.request(), CookieName::Session).or_else(|| site.cookie_of(req.request(), CookieName::Before));
    let new = known.is_none();
    let to = known.unwrap_or_else(|| hex(&chance::bytes::<16>()));
    req.extensions_mut().insert(Tied { to, new });
}

async fn check(req: &mut ServiceRequest, site: &Site) -> Result<(), WebError> {
    if req.uri().path_and_query().is_some_and(|path| path.as_str().len() > LONGEST_ADDRESS) {
        return Err(WebError::BadRequest("The address is too long.".into()));
    }
    let safe = [Method::GET, Method::HEAD].contains(req.method());
    let host = req.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let host = host.strip_suffix(if site.https() { ":443" } else { ":80" }).unwrap_or(&host);
    if host != site.host() {
        return Err(if safe { WebError::Elsewhere(home_of(req, site, host)) } else { WebError::Forged });
    }
    if safe {
        return Ok(());
    }
    if is_one_click(req) {
        let body = read_body(req).await?;
        if body.windows(ONE_CLICK.len()).any(|part| part == ONE_CLICK.as_bytes()) {
            req.extensions_mut().insert(Body(Bytes::from_static(b"List-Unsubscribe=One-Click")));
            return Ok(());
        }
        return Err(WebError::Forged);
    }
    same_origin(req, site)?;
    let kind = req.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().is_none_or(|kind| !kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")) {
        return Err(WebError::Forged);
    }
    let body = read_body(req).await?;
    let given = match req.headers().get("x-csrf-token").and_then(|token| token.to_str().ok()) {
        Some(token) => token.to_owned(),
        None => serde_urlencoded::from_bytes::<Vec<(String, String)>>(&body)
            .ok()
            .and_then(|fields| fields.into_iter().find(|(name, _)| name == "csrf"))
            .map(|(_, token)| token)
            .unwrap_or_default(),
    };
    if !is_token(req.request(), site, &given) {
        return Err(WebError::Forged);
    }
    req.extensions_mut().insert(Body(body));
    Ok(())
}

const ONE_CLICK: &str = "One-Click";

/// A mail program that takes its owner off a list (RFC 8058): no browser and no session, so no other site can make use of one.
/// What it may do follows from the token in the address alone.
fn is_one_click(req: &ServiceRequest) -> bool {
    let path = req.path();
    let from_browser = ["origin", "sec-fetch-site", "cookie"].iter().any(|name| req.headers().contains_key(*name));
    !from_browser && path.starts_with("/extend/") && path.ends_with("/stop")
}

/// Where a request under another host belongs: a tenant's own name leads to its pages.
fn home_of(req: &ServiceRequest, site: &Site, host: &str) -> String {
    let name = host.split(':').next().unwrap_or_default();
    let tenant = site.settings.tenant_domain.as_deref().and_then(|domain| name.strip_suffix(domain)?.strip_suffix('.'));
    let base = site.origin();
    match tenant {
        Some(tenant) if tenant.parse::<crate::domain::names::Slug>().is_ok() => format!("{base}/t/{tenant}"),
        _ => format!("{base}{}", req.uri().path_and_query().map_or("/", |path| path.as_str())),
    }
}

fn same_origin(req: &ServiceRequest, site: &Site) -> Result<(), WebError> {
    let text = |name: &str| req.headers().get(name).map(|value| value.to_str().unwrap_or_default().to_owned());
    let good = match text("sec-fetch-site") {
        Some(from) => from == "same-origin",
        None => text("origin").is_some_and(|origin| origin.eq_ignore_ascii_case(&site.origin())),
    };
    if good { Ok(()) } else { Err(WebError::Forged) }
}

async fn read_body(req: &mut ServiceRequest) -> Result<Bytes, WebError> {
    let arrived = tokio::time::timeout(BODY_PATIENCE, req.extract::<Bytes>()).await;
    let arrived = arrived.map_err(|_| WebError::BadRequest("The form took too long to arrive. Nothing was changed.".into()))?;
    let body = arrived.map_err(|error| match error.as_response_error().status_code() {
        StatusCode::PAYLOAD_TOO_LARGE => WebError::TooLarge,
        _ => WebError::BadRequest("The form did not arrive whole. Nothing was changed.".into()),
    })?;
    if body.len() > LARGEST_BODY { Err(WebError::TooLarge) } else { Ok(body) }
}

/// A token for the forms of one answer.
pub fn token(req: &HttpRequest) -> String {
    let tied = req.extensions().get::<Tied>().cloned();
    match (req.app_data::<Data<Site>>(), tied) {
        (Some(site), Some(tied)) => token_for(site, &tied.to),
        _ => String::new(),
    }
}

/// A token for forms that will be sent with another session than the one that asked: after a step up.
pub fn token_for(site: &Site, cookie: &str) -> String {
    let nonce = hex(&chance::bytes::<12>());
    format!("{nonce}.{}", proof(site, &nonce, cookie))
}

fn proof(site: &Site, nonce: &str, cookie: &str) -> String {
    hex(&site.secrets.keyed("form", format!("{nonce}\n{cookie}").as_bytes()))
}

fn is_token(req: &HttpRequest, site: &Site, given: &str) -> bool {
    let Some(tied) = req.extensions().get::<Tied>().cloned() else { return false };
    let Some((nonce, proven)) = given.split_once('.') else { return false };
    !tied.new && nonce.len() == 24 && subtle::ConstantTimeEq::ct_eq(proof(site, nonce, &tied.to).as_bytes(), proven.as_bytes()).into()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Template)]
#[template(path = "errors/page.html")]
struct ErrorPage {
    frame: Frame,
    symbol: &'static str,
    code: u16,
    title: &'static str,
    words: String,
    reference: String,
}

#[derive(Template)]
#[template(path = "errors/away.html")]
struct AwayPage {
    frame: Frame,
    code: u16,
    title: &'static str,
    words: &'static str,
    reference: String,
    /// Where a change was asked for: there it is looked for, and not asked for again.
    back: Option<String>,
}

/// Puts a page in the place of an error that has none.
fn put_page(res: ServiceResponse, request: &HttpRequest) -> ServiceResponse {
    let status = res.status();
    let made_up;
    let error = match res.response().error().and_then(|error| error.as_error::<WebError>()) {
        Some(error) => error,
        None if res.response().error().is_none() && !matches!(res.response().body().size(), BodySize::None | BodySize::Sized(0)) => return res,
        None => {
            made_up = match status {
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => WebError::NotFound,
                StatusCode::PAYLOAD_TOO_LARGE => WebError::TooLarge,
                status if status.is_client_error() => WebError::BadRequest("The request could not be read.".into()),
                _ => WebError::unexpected(&format!("a handler answered {status}")),
            };
            &made_up
        }
    };
    let status = if status == StatusCode::METHOD_NOT_ALLOWED { status } else { error.status_code() };
    let allow = res.headers().get(header::ALLOW).cloned();
    let mut answer = page_of(error, status, request);
    if let Some(allow) = allow {
        answer.headers_mut().insert(header::ALLOW, allow);
    }
    if let Some(seconds) = error.retry_after() {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    ServiceResponse::new(request.clone(), answer)
}

fn page_of(error: &WebError, status: StatusCode, request: &HttpRequest) -> HttpResponse {
    let frame = Frame::of(request);
    let (symbol, title, words, reference) = match error {
        WebError::SignIn => {
            let next = if request.method() == Method::GET { serde_urlencoded::to_string([("next", &frame.path)]).unwrap_or_default() } else { String::new() };
            let url = if next.is_empty() || frame.path == "/" { "/login".into() } else { format!("/login?{next}") };
            return super::page::see_other(&frame, &url);
        }
        WebError::Elsewhere(url) => return HttpResponse::Found().insert_header((header::LOCATION, url.as_str())).finish(),
        WebError::Away(reference) => {
            let is_asked_again = [Method::GET, Method::HEAD].contains(request.method());
            let back = (!is_asked_again).then(|| came_from(request));
            let page = AwayPage {
                frame,
                back,
                code: status.as_u16(),
                title: "Keyward cannot reach its database",
                words: "Until the link is back, gateways get 503 too, rather than an answer that may be out of date. If you were changing something, look whether it was done before you try again.",
                reference: reference.clone(),
            };
            let text = page.render().unwrap_or_default();
            let mut answer = HttpResponse::build(status);
            if is_asked_again {
                answer.insert_header(("Refresh", "10"));
            }
            return answer.content_type("text/html; charset=utf-8").body(text);
        }
        WebError::NotFound => ("search-x", "There is nothing here", "The address is wrong, the thing was deleted, or you may not see it.".to_owned(), ""),
        WebError::Forbidden(words) => ("lock", "You may not do this", words.clone(), ""),
        WebError::Forged => (
            "shield-alert",
            "This form is no longer valid",
            "You have signed in or out since it was opened, or it did not come from this site. Nothing was changed. Go back, reload the page and try again.".to_owned(),
            "",
        ),
        WebError::BadRequest(words) => ("circle-x", "This could not be read", words.clone(), ""),
        WebError::TooLarge => ("circle-x", "This is too large", "A form may have 64 KiB. Nothing was changed.".to_owned(), ""),
        WebError::Busy => ("hourglass", "Too many sign-ins at this moment", "Nothing was changed. Wait a few seconds and try again.".to_owned(), ""),
        WebError::TooMany => ("hourglass", "Too many requests", "This network has opened too many links. Nothing was changed. Wait a minute and try again.".to_owned(), ""),
        WebError::Unexpected(reference) => (
            "triangle-alert",
            "Something failed here",
            "The fault is on this side, and it was logged. Tell the operator the reference.".to_owned(),
            reference.as_str(),
        ),
    };
    let page = ErrorPage { frame, symbol, code: status.as_u16(), title, words, reference: reference.to_owned() };
    HttpResponse::build(status).content_type("text/html; charset=utf-8").body(page.render().unwrap_or_default())
}

/// Whether the address holds the token of a link: in its path, or in what is to follow a sign-in.
fn holds_token(request: &HttpRequest) -> bool {
    let address = request.uri().to_string();
    [Purpose::Extend, Purpose::Reset, Purpose::Invite, Purpose::SetUp].iter().any(|purpose| address.contains(purpose.prefix()))
}

/// The page of this site that a form was sent from, as the browser says; else the first one.
fn came_from(request: &HttpRequest) -> String {
    let from = request.headers().get(header::REFERER).and_then(|from| from.to_str().ok()).unwrap_or_default();
    let origin = request.app_data::<Data<Site>>().map(|site| site.origin()).unwrap_or_default();
    from.strip_prefix(&origin).and_then(safe_next).unwrap_or("/").to_owned()
}

/// The headers that every answer of the console has.
fn finish(res: &mut ServiceResponse, request: &HttpRequest, site: &Site) {
    let is_page = res.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page {
        let tied = request.extensions().get::<Tied>().cloned();
        if let Some(tied) = tied.filter(|tied| tied.new) {
            let _ = res.response_mut().add_cookie(&site.make_cookie(CookieName::Before, tied.to, None));
        }
        let sets_flash = |res: &ServiceResponse| res.response().cookies().any(|cookie| cookie.name() == site.cookie_name(CookieName::Flash));
        if site.cookie_of(request, CookieName::Flash).is_some() && !super::page::is_htmx(request) && !sets_flash(res) {
            let _ = res.response_mut().add_cookie(&site.drop_cookie(CookieName::Flash));
        }
    }
    let holds_token = holds_token(request);
    let headers = res.headers_mut();
    let mut set = |name: &'static str, value: &'static str| {
        let name = header::HeaderName::from_static(name);
        if !headers.contains_key(&name) {
            headers.insert(name, header::HeaderValue::from_static(value));
        }
    };
    set("cache-control", "no-store");
    set(
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    );
    set("x-content-type-options", "nosniff");
    set("x-frame-options", "DENY");
    set("cross-origin-opener-policy", "same-origin");
    set("cross-origin-resource-policy", "same-origin");
    set("referrer-policy", if holds_token { "no-referrer" } else { "same-origin" });
    if holds_token {
        set("x-robots-tag", "noindex");
    }
    set("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()");
    if let Some((name, value)) = site.only_https() {
        headers.insert(name, value);
    }
}
