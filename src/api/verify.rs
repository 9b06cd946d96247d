//! What gateways and programs ask: may this request pass? `POST /api/v1/keys/verify` speaks JSON; `/api/v1/auth` speaks headers, so
//! that a gateway can forward them, and never redirects nor answers 400, which gateways turn into errors of their own.

use std::{
    borrow::Cow,
    future::{Future as _, poll_fn},
    net::IpAddr,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodyStream, BoxBody, MessageBody as _},
    http::{
        StatusCode,
        header::{
            AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
        },
    },
    web::{self, BytesMut},
};
use ipnet::IpNet;
use smallvec::SmallVec;

use super::error::Problem;
use crate::{
    domain::{
        ids::KeyId,
        ip_range::client_address,
        names::{Resource, Scope},
        time::Time,
        verdict::{Code, GraceReason, Request, Verdict},
    },
    verify::{Answer, Entry, Gateway, Question, Unavailable, Verifier},
    web::urls::{Urls, any, post},
};

/// What the verify calls need.
#[derive(Clone)]
pub struct Gate {
    /// Who decides.
    pub verifier: Verifier,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Arc<[IpNet]>,
}

/// The calls; before those of the management API, for `keys/verify` is no key.
pub fn urls() -> Urls {
    Urls::default()
        .route("/api/v1/auth", any().to(auth))
        .route("/api/v1/keys/verify", post().to(verify))
        .route("/api/v1/keys/verify", any().to(post_only))
        // After those that need no pattern to be matched.
        .route("/api/v1/auth/{tail:.*}", any().to(auth_by_headers))
}

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_KEYWARD_GATEWAY: HeaderName = HeaderName::from_static("x-keyward-gateway");
const X_KEYWARD_SCOPE: HeaderName = HeaderName::from_static("x-keyward-scope");
const X_KEYWARD_RESOURCE: HeaderName = HeaderName::from_static("x-keyward-resource");
const X_KEY_ID: HeaderName = HeaderName::from_static("x-key-id");
const X_KEY_OWNER: HeaderName = HeaderName::from_static("x-key-owner");
const X_KEY_TENANT: HeaderName = HeaderName::from_static("x-key-tenant");
const X_KEY_SCOPES: HeaderName = HeaderName::from_static("x-key-scopes");
const X_KEY_RESOURCES: HeaderName = HeaderName::from_static("x-key-resources");
const X_KEY_CODE: HeaderName = HeaderName::from_static("x-key-code");
const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// What a gateway wants to know, as it came in: texts that are no scope or resource can be met by no key.
#[derive(Default)]
struct Wanted {
    scopes: Vec<Scope>,
    impossible_scope: bool,
    resource: Option<Resource>,
    impossible_resource: bool,
}

impl Wanted {
    fn scope(&mut self, text: &str) {
        match text.parse() {
            Ok(scope) => self.scopes.push(scope),
            Err(_) => self.impossible_scope = true,
        }
    }

    fn resource(&mut self, text: &str) {
        match text.parse() {
            Ok(resource) if self.resource.is_none() => self.resource = Some(resource),
            _ => self.impossible_resource = true,
        }
    }

    /// `scope` (repeatable) and `resource` of a query.
    fn of_query(query: &str) -> Self {
        let mut wanted = Self::default();
        if query.is_empty() {
            return wanted;
        }
        match serde_urlencoded::from_str::<Vec<(Cow<'_, str>, Cow<'_, str>)>>(query) {
            Ok(pairs) => {
                for (name, value) in pairs {
                    match &*name {
                        "scope" => wanted.scope(&value),
                        "resource" => wanted.resource(&value),
                        _ => {}
                    }
                }
            }
            Err(_) => wanted.impossible_scope = true,
        }
        wanted
    }

    /// `X-Keyward-Scope` (scopes separated by spaces) and `X-Keyward-Resource`.
    fn of_headers(headers: &HeaderMap) -> Self {
        let mut wanted = Self::default();
        for value in headers.get_all(X_KEYWARD_SCOPE) {
            match value.to_str() {
                Ok(text) => text.split([' ', ',']).filter(|scope| !scope.is_empty()).for_each(|scope| wanted.scope(scope)),
                Err(_) => wanted.impossible_scope = true,
            }
        }
        for value in headers.get_all(X_KEYWARD_RESOURCE).filter(|value| !value.is_empty()) {
            wanted.resource(value.to_str().unwrap_or_default());
        }
        wanted
    }
}

/// What the client presented.
enum Credential<'a> {
    /// Nothing at all.
    None,
    /// More than one, or none that can be a token.
    Unusable,
    /// One.
    Token(&'a str),
}

fn credential(headers: &HeaderMap) -> Credential<'_> {
    let mut authorization = headers.get_all(AUTHORIZATION);
    let mut api_key = headers.get_all(X_API_KEY);
    match (authorization.next(), authorization.next(), api_key.next(), api_key.next()) {
        (None, None, None, None) => Credential::None,
        (Some(value), None, None, None) => bearer(value).map_or(Credential::Unusable, Credential::Token),
        (None, None, Some(value), None) => value.to_str().map_or(Credential::Unusable, Credential::Token),
        _ => Credential::Unusable,
    }
}

/// The token of `Bearer <token>`; the scheme's case does not matter (RFC 9110 11.1).
fn bearer(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    let (scheme, token) = text.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case("bearer ").then_some(token)
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name);
    values.next().filter(|_| values.next().is_none())
}

/// The client's address, as the gateway names it; never the peer's own.
fn client(request: &HttpRequest, trusted: &[IpNet]) -> Option<IpAddr> {
    let entries: SmallVec<[&str; 2]> = request.headers().get_all(X_FORWARDED_FOR).map(|value| value.to_str().unwrap_or("?")).collect();
    if entries.is_empty() {
        return None;
    }
    client_address(request.peer_addr()?.ip(), entries.into_iter(), trusted)
}

fn peer(request: &HttpRequest) -> Option<IpAddr> {
    request.peer_addr().map(|peer| peer.ip().to_canonical())
}

async fn auth(request: HttpRequest, gate: web::Data<Gate>) -> HttpResponse {
    decide(&request, &gate, Wanted::of_query(request.query_string())).await
}

async fn auth_by_headers(request: HttpRequest, gate: web::Data<Gate>) -> HttpResponse {
    decide(&request, &gate, Wanted::of_headers(request.headers())).await
}

async fn decide(request: &HttpRequest, gate: &Gate, wanted: Wanted) -> HttpResponse {
    let headers = request.headers();
    let gateway = match gateway(request, gate, only(headers, &X_KEYWARD_GATEWAY).and_then(|value| value.to_str().ok())).await {
        Ok(Some(gateway)) => gateway,
        Ok(None) => return bare(StatusCode::FORBIDDEN, X_KEY_CODE, HeaderValue::from_static("gateway_refused")),
        Err(Unavailable) => return outage(),
    };
    let credential = credential(headers);
    let asked = Request { scopes: &wanted.scopes, resource: wanted.resource.as_ref(), ip: client(request, &gate.trusted_proxies) };
    let question = Question {
        token: if let Credential::Token(token) = credential { Some(token) } else { None },
        request: &asked,
        impossible_scope: wanted.impossible_scope,
        impossible_resource: wanted.impossible_resource,
    };
    match gate.verifier.verify(gateway.tenant.id, &question).await {
        Ok(Answer { verdict, key: Some((id, key)) }) if verdict.code.is_accepted() => accepted(id, &key, verdict),
        Ok(answer) => refused(answer.verdict.code, matches!(credential, Credential::None), &wanted.scopes),
        Err(Unavailable) => outage(),
    }
}

async fn gateway(request: &HttpRequest, gate: &Gate, token: Option<&str>) -> Result<Option<Arc<Gateway>>, Unavailable> {
    gate.verifier.gateway(token, peer(request)).await
}

fn accepted(id: KeyId, key: &Entry, verdict: Verdict) -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(X_KEY_ID, HeaderValue::from_str(id.as_str()).unwrap_or(HeaderValue::from_static("")));
    headers.insert(X_KEY_OWNER, HeaderValue::from(key.owner.id.0));
    headers.insert(X_KEY_TENANT, key.tenant.slug.clone());
    headers.insert(X_KEY_SCOPES, key.access.scopes_header.clone());
    headers.insert(X_KEY_RESOURCES, key.access.resources_header.clone());
    headers.insert(CACHE_CONTROL, NO_STORE);
    if let Some(grace) = verdict.grace {
        let since = match grace.reason {
            GraceReason::Expired => key.expires_at(),
            GraceReason::Rolled => key.replaced_at(),
        };
        if let Some(since) = since.and_then(|since| HeaderValue::from_str(&format!("@{}", since.timestamp())).ok()) {
            headers.insert(DEPRECATION, since);
        }
        if let Ok(until) = HeaderValue::from_str(&grace.until.format("%a, %d %b %Y %H:%M:%S GMT").to_string()) {
            headers.insert(SUNSET, until);
        }
    }
    response
}

fn refused(code: Code, nothing_presented: bool, scopes: &[Scope]) -> HttpResponse {
    let (status, challenge) = match code {
        Code::InsufficientScope => {
            let wanted = scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(" ");
            let challenge = format!("Bearer realm=\"keyward\", error=\"insufficient_scope\", scope=\"{wanted}\"");
            let plain = HeaderValue::from_static("Bearer realm=\"keyward\", error=\"insufficient_scope\"");
            (StatusCode::FORBIDDEN, if wanted.is_empty() { plain } else { HeaderValue::from_str(&challenge).unwrap_or(plain) })
        }
        Code::IpDenied | Code::ResourceDenied => {
            (StatusCode::FORBIDDEN, HeaderValue::from_static("Bearer realm=\"keyward\", error=\"insufficient_scope\""))
        }
        // No error code where nothing was presented (RFC 6750 3.1).
        _ if nothing_presented => (StatusCode::UNAUTHORIZED, HeaderValue::from_static("Bearer realm=\"keyward\"")),
        _ => (StatusCode::UNAUTHORIZED, HeaderValue::from_static("Bearer realm=\"keyward\", error=\"invalid_token\"")),
    };
    let mut response = bare(status, X_KEY_CODE, HeaderValue::from_static(code.as_str()));
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn bare(status: StatusCode, name: HeaderName, value: HeaderValue) -> HttpResponse {
    let mut response = HttpResponse::new(status);
    response.headers_mut().insert(name, value);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

fn outage() -> HttpResponse {
    bare(StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER, HeaderValue::from_static("1"))
}

/// The most of a body that is read.
const MOST_BYTES: usize = 64 << 10;

/// The most scopes that may be asked at once.
const MOST_SCOPES: usize = 100;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifyCall<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(default, borrow)]
    ip: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    scopes: Option<Vec<Cow<'a, str>>>,
    #[serde(default, borrow)]
    resource: Option<Cow<'a, str>>,
}

async fn post_only() -> HttpResponse {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Send a POST.").allow("POST")
}

async fn verify(request: HttpRequest, gate: web::Data<Gate>, payload: web::Payload) -> HttpResponse {
    let token = only(request.headers(), &AUTHORIZATION).and_then(bearer);
    let gateway = match gateway(&request, &gate, token).await {
        Ok(Some(gateway)) => gateway,
        Ok(None) => return gateway_needed(token.is_some()),
        Err(Unavailable) => return unavailable(),
    };
    let mut arrives = pin!(whole(payload));
    // Nearly always it came with the head, and no timer is needed.
    let body = match poll_fn(|context| Poll::Ready(arrives.as_mut().poll(context))).await {
        Poll::Ready(body) => body,
        Poll::Pending => tokio::time::timeout(Duration::from_secs(15), arrives).await.unwrap_or_else(|_| Err(did_not_arrive())),
    };
    match body {
        Ok(body) => answer_json(&gate, &gateway, &body).await,
        Err(problem) => problem.into(),
    }
}

/// A body as it arrives, in memory of its own size.
async fn whole(payload: web::Payload) -> Result<BytesMut, Problem> {
    let mut pieces = pin!(BodyStream::new(payload));
    let mut body = BytesMut::new();
    while let Some(piece) = poll_fn(|context| pieces.as_mut().poll_next(context)).await {
        let piece = piece.map_err(|_| did_not_arrive())?;
        if body.len() + piece.len() > MOST_BYTES {
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "Send 64 KiB or less."));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

fn did_not_arrive() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_request", "The body did not arrive.")
}

async fn answer_json(gate: &Gate, gateway: &Gateway, body: &[u8]) -> HttpResponse {
    let call: VerifyCall<'_> = match serde_json::from_slice(body) {
        Ok(call) => call,
        Err(error) => {
            let detail = format!(
                "The body is not what is expected at line {}, column {}: key, and optionally ip, scopes, resource.",
                error.line(),
                error.column()
            );
            return Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail).into();
        }
    };
    let invalid = |field: &str, why: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", format!("{field}: {why}")).into();
    let wanted = call.scopes.unwrap_or_default();
    if wanted.len() > MOST_SCOPES {
        return invalid("scopes", "Ask for 100 or fewer.");
    }
    let mut scopes = Vec::with_capacity(wanted.len());
    for text in wanted {
        match text.parse::<Scope>() {
            Ok(scope) => scopes.push(scope),
            Err(error) => return invalid("scopes", &error.0),
        }
    }
    let resource = match call.resource.map(|text| text.parse::<Resource>()).transpose() {
        Ok(resource) => resource,
        Err(error) => return invalid("resource", &error.0),
    };
    let ip = match call.ip.map(|text| text.parse::<IpAddr>()).transpose() {
        Ok(ip) => ip.map(|ip| ip.to_canonical()),
        Err(_) => return invalid("ip", "Enter an IPv4 or IPv6 address."),
    };
    let asked = Request { scopes: &scopes, resource: resource.as_ref(), ip };
    let question = Question { token: Some(&call.key), request: &asked, impossible_scope: false, impossible_resource: false };
    match gate.verifier.verify(gateway.tenant.id, &question).await {
        Ok(answer) => {
            let mut response = bare(StatusCode::OK, CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response.set_body(BoxBody::new(answer_body(&answer)))
        }
        Err(Unavailable) => unavailable(),
    }
}

fn gateway_needed(presented: bool) -> HttpResponse {
    let challenge = if presented { "Bearer realm=\"keyward\", error=\"invalid_token\"" } else { "Bearer realm=\"keyward\"" };
    let mut response: HttpResponse =
        Problem::new(StatusCode::UNAUTHORIZED, "gateway_refused", "Send a gateway credential of the tenant as Authorization: Bearer kwg_….").into();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

fn unavailable() -> HttpResponse {
    let mut response: HttpResponse =
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Keyward cannot be sure at the moment. Try again in a second.").into();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[derive(serde::Serialize)]
struct Accepted<'a> {
    valid: bool,
    code: &'static str,
    key_id: &'a str,
    name: &'a str,
    tenant: &'a str,
    owner: OwnerJson<'a>,
    scopes: Words<'a>,
    resources: Option<Words<'a>>,
    expires_at: Option<String>,
    grace: Option<GraceJson>,
}

/// A header's words as a list.
struct Words<'a>(&'a HeaderValue);

impl serde::Serialize for Words<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.to_str().unwrap_or_default().split(' ').filter(|word| !word.is_empty()))
    }
}

#[derive(serde::Serialize)]
struct OwnerJson<'a> {
    id: i64,
    email: Option<&'a str>,
}

#[derive(serde::Serialize)]
struct GraceJson {
    reason: &'static str,
    until: String,
}

#[derive(serde::Serialize)]
struct Refused<'a> {
    valid: bool,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
}

/// A moment as RFC 3339 writes it.
fn moment(at: Time) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

fn answer_body(answer: &Answer) -> Vec<u8> {
    let code = answer.verdict.code;
    let mut body = Vec::with_capacity(512);
    let written = match &answer.key {
        Some((id, key)) if code.is_accepted() => {
            let accepted = Accepted {
                valid: true,
                code: code.as_str(),
                key_id: id.as_str(),
                name: &key.name,
                tenant: key.tenant.slug.to_str().unwrap_or_default(),
                owner: OwnerJson { id: key.owner.id.0, email: key.owner.email.as_deref() },
                scopes: Words(&key.access.scopes_header),
                resources: key.access.resources.chosen().map(|_| Words(&key.access.resources_header)),
                expires_at: key.expires_at().map(moment),
                grace: answer.verdict.grace.map(|grace| GraceJson { reason: grace.reason.as_str(), until: moment(grace.until) }),
            };
            serde_json::to_writer(&mut body, &accepted)
        }
        key => {
            let key_id = key.as_ref().map(|(id, _)| id.as_str());
            serde_json::to_writer(&mut body, &Refused { valid: false, code: code.as_str(), key_id })
        }
    };
    match written {
        Ok(()) => body,
        Err(_) => b"{\"valid\":false,\"code\":\"not_found\"}".to_vec(),
    }
}
