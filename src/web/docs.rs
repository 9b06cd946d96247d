//! The documentation that is built in: what a key is, how it lives, and how a gateway asks.

use actix_web::HttpRequest;
use askama::Template;

use super::{
    page::{Frame, WebResult, show},
    session::SignedIn,
};
use crate::domain::verdict::Code;

#[derive(Template)]
#[template(path = "docs/page.html")]
struct DocsPage {
    frame: Frame,
    /// The address of this installation.
    base: String,
    codes: Vec<(&'static str, &'static str, &'static str)>,
    gateways: String,
    policies: [(&'static str, &'static str, &'static str); 5],
}

/// The page, for everybody who is signed in.
pub async fn page(person: SignedIn, _req: HttpRequest) -> WebResult {
    let codes = [
        (Code::NotFound, "401", "malformed, unknown, deleted, a wrong secret, or another tenant’s key"),
        (Code::TenantDisabled, "401", "API keys are off, or the tenant is suspended"),
        (Code::OwnerInactive, "401", "the owner is suspended or removed"),
        (Code::Revoked, "401", "stopped for good"),
        (Code::Disabled, "401", "locked for a while"),
        (Code::Rolled, "401", "an old secret that has stopped"),
        (Code::Expired, "401", "past the expiry and the grace after it"),
        (Code::IpDenied, "403", "not from this address"),
        (Code::ResourceDenied, "403", "not this resource"),
        (Code::InsufficientScope, "403", "a scope is missing"),
        (Code::ValidInGrace, "200", "accepted, but the key has expired or this is its old secret"),
        (Code::Valid, "200", "accepted"),
    ];
    let gateways = person
        .acting
        .as_ref()
        .filter(|acting| acting.may(crate::domain::permission::Permission::SettingsManage))
        .map(|acting| format!("/t/{}/gateways", acting.tenant.slug))
        .unwrap_or_default();
    let page = DocsPage {
        frame: person.frame.clone(),
        base: person.site.settings.public_url.clone(),
        codes: codes.iter().map(|(code, status, words)| (code.as_str(), *status, *words)).collect(),
        gateways,
        policies: super::docs_policies::PAGES,
    };
    show(&page)
}
