//! Pages for people. Every URL is in [`pages`], in one list.
//!
//! # How to write a page
//! A page is a file here and a template in `templates/`. The handler says who asks, reads or does, and answers:
//!
//! ```ignore
//! #[derive(Template)]
//! #[template(path = "gateways/list.html")]            // begins with {% extends "layout.html" %}
//! struct GatewaysPage { frame: Frame, rows: Vec<Row> }  // every page has its `frame`
//!
//! pub async fn list(member: Member) -> WebResult {      // 404 for strangers, /login for nobody
//!     member.needs(Permission::SettingsManage)?;        // 403 in words
//!     let rows = member.read(|db, reach| gateways::all(db, reach)).await.map_err(WebError::from)?;
//!     show(&GatewaysPage { frame: member.frame.clone(), rows })
//! }
//!
//! pub async fn rename(member: Member, path: Path<(String, GatewayId)>, mut form: Form) -> WebResult {
//!     form.only(&["name", "scope*"])?;                  // other fields, or one twice: 400; `*` may repeat
//!     let name = form.parse("name", |text| text.parse::<KeyName>());
//!     let Some(name) = name else { return again(member, form) };        // status_of(&form) is 422 then
//!     member.write(move |tx, by| actions::gateways::rename(tx, by, id, name)).await?;
//!     done(&member.site, &member.frame, "Gateway credential renamed.", &member.url("/gateways"))
//! }
//! ```
//!
//! - Blocks of `layout.html`: `title_prefix` ("Error: "), `title`, `main_class` (`narrow`, `mid` or nothing), `main`, `head`.
//!   `solo.html` is a card on its own: `card`, `card_class`, `below`.
//! - Macros: `{% import "parts/macros.html" as m %}`, then `{{ m::icon("ban") }}`, `{{ m::csrf(frame) }}` (in every form that
//!   posts), `{{ m::field(form, "name", "Name", "text", "required maxlength=100", "") }}`, `{{ m::code(form, frame, "Code") }}`,
//!   `{{ m::summary(form) }}`; calls with a body are `{% call m::note("warn", "info") %}…{% endcall %}`.
//! - A question ("Revoke “x”?") is [`page::ask`]: a page, or a dialog where the link has `hx-get` and `hx-target="#dialog"`.
//!   The body is a template of its own; the same URL posts; with errors `ask` answers 422 and the dialog stays.
//! - After a change: [`page::done`] leads to a page that says one sentence; [`page::done_here`] answers htmx with fragments
//!   that carry `hx-swap-oob`, closes the dialog and shows a toast.
//! - Fragments: `#[template(…, blocks = ["grid"])]` and [`page::html`]`(status, page.as_grid().render()?)` where
//!   `frame.fragment` is set.
//! - No inline style or script, no `hx-on`: the content security policy forbids them.

pub mod access;
pub mod access_resources;
pub mod access_roles;
pub mod assets;
mod chart;
pub mod docs;
pub mod docs_policies;
pub mod email;
pub mod error;
pub mod events;
pub mod events_export;
mod expiry_form;
pub mod explain;
pub mod extend;
pub mod flash;
pub mod form;
pub mod gateways;
pub mod guard;
pub mod installation;
pub mod installation_keys;
pub mod installation_mail;
pub mod installation_people;
pub mod invite;
pub mod key_actions;
mod key_activity;
pub mod key_after;
mod key_code;
pub mod key_create;
pub mod key_edit;
pub mod key_facts;
mod key_fields;
pub mod key_find;
pub mod key_hand_over;
pub mod key_page;
mod key_refused;
pub mod key_roll;
mod key_token;
pub mod key_view;
pub mod keys;
pub mod keys_csv;
pub mod keys_many;
pub mod keys_own;
pub mod keys_query;
pub mod leave;
pub mod mail;
pub mod mail_views;
pub mod member;
pub mod member_access;
mod member_fields;
pub mod member_help;
pub mod member_remove;
pub mod members;
mod opened_links;
pub mod overview;
pub mod page;
pub mod password;
mod picker;
pub mod press;
pub mod profile;
pub mod recipes;
pub mod resource_new;
pub mod roles;
pub mod session;
mod session_lines;
pub mod set_up;
pub mod settings;
mod settings_asks;
mod settings_newer;
pub mod sign_in;
pub mod site;
pub mod two_step;
pub mod urls;

use actix_web::{
    middleware::{Compress, from_fn},
    web::{self, ServiceConfig},
};

use self::{
    error::WebError,
    page::Link,
    urls::{Urls, get, post},
};
use crate::{domain::permission::Permission, store::members::Acting};

/// Every address that shows something in a browser.
pub struct Pages {
    /// What pages are dressed with: the same for everybody.
    pub files: Urls,
    /// Pages: each request passes the guard.
    pub pages: Urls,
}

/// Every URL of the console. Registered last: it takes whatever is left.
pub fn pages(config: &mut ServiceConfig) {
    let Pages { files, pages } = urls();
    files.register(config);
    let scope = web::scope("").wrap(from_fn(guard::guard)).wrap(Compress::default());
    let nowhere = web::to(|| async { Err::<actix_web::HttpResponse, _>(WebError::NotFound) });
    config.service(pages.within(scope).default_service(nowhere));
}

/// The list. A new line is unknown to the walk through all pages in the tests until it is told there who may do what.
pub fn urls() -> Pages {
    Pages {
        files: Urls::default().route("/static/{name:.*}", get().to(assets::file)),
        pages: Urls::default()
            .route("/t/{tenant}/gateways", get().to(gateways::list))
            .route("/t/{tenant}/gateways", post().to(gateways::create))
            .route("/t/{tenant}/gateways/new", get().to(gateways::new))
            .route("/t/{tenant}/gateways/{id}/roll", get().to(gateways::roll_form))
            .route("/t/{tenant}/gateways/{id}/roll", post().to(gateways::roll))
            .route("/t/{tenant}/gateways/{id}/revoke", get().to(gateways::revoke_form))
            .route("/t/{tenant}/gateways/{id}/revoke", post().to(gateways::revoke))
            .route("/t/{tenant}", get().to(overview::overview))
            .route("/t/{tenant}/keys", get().to(keys::list))
            .route("/t/{tenant}/keys", post().to(keys::choose_columns))
            .route("/t/{tenant}/keys.csv", get().to(keys_csv::export))
            .route("/t/{tenant}/access", get().to(access::list))
            .route("/t/{tenant}/access/scopes/new", get().to(access::new))
            .route("/t/{tenant}/access/scopes/new", post().to(access::create))
            .route("/t/{tenant}/access/scopes/edit", get().to(access::edit))
            .route("/t/{tenant}/access/scopes/edit", post().to(access::save))
            .route("/t/{tenant}/access/scopes/remove", get().to(access::removal))
            .route("/t/{tenant}/access/scopes/remove", post().to(access::remove))
            .route("/t/{tenant}/access/roles", get().to(access_roles::list))
            .route("/t/{tenant}/access/roles/new", get().to(access_roles::new))
            .route("/t/{tenant}/access/roles/new", post().to(access_roles::create))
            .route("/t/{tenant}/access/roles/{role}", get().to(access_roles::edit))
            .route("/t/{tenant}/access/roles/{role}", post().to(access_roles::save))
            .route("/t/{tenant}/access/roles/{role}/remove", get().to(access_roles::removal))
            .route("/t/{tenant}/access/roles/{role}/remove", post().to(access_roles::remove))
            .route("/t/{tenant}/access/resources", get().to(access_resources::list))
            .route("/t/{tenant}/access/resources/new", get().to(resource_new::form))
            .route("/t/{tenant}/access/resources/new", post().to(resource_new::create))
            .route("/t/{tenant}/access/resources/{resource}/edit", get().to(access_resources::edit))
            .route("/t/{tenant}/access/resources/{resource}/edit", post().to(access_resources::save))
            .route("/t/{tenant}/access/resources/{resource}/remove", get().to(access_resources::removal))
            .route("/t/{tenant}/access/resources/{resource}/remove", post().to(access_resources::remove))
            .route("/t/{tenant}/settings", get().to(settings::show))
            .route("/t/{tenant}/settings/keys", get().to(settings::ask_switch))
            .route("/t/{tenant}/settings/keys", post().to(settings::switch))
            .route("/t/{tenant}/settings/{card}", post().to(settings::save))
            .route("/installation/tenants", get().to(installation::list))
            .route("/installation/tenants/new", get().to(installation::ask_new))
            .route("/installation/tenants/new", post().to(installation::create))
            .route("/installation/tenants/{slug}/edit", get().to(installation::ask_edit))
            .route("/installation/tenants/{slug}/edit", post().to(installation::edit))
            .route("/installation/tenants/{slug}/admin", get().to(installation::ask_admin))
            .route("/installation/tenants/{slug}/admin", post().to(installation::name_admin))
            .route("/installation/tenants/{slug}/suspend", get().to(installation::ask_suspend))
            .route("/installation/tenants/{slug}/suspend", post().to(installation::suspend))
            .route("/installation/tenants/{slug}/restore", get().to(installation::ask_restore))
            .route("/installation/tenants/{slug}/restore", post().to(installation::restore))
            .route("/installation/people", get().to(installation_people::list))
            .route("/installation/people/{account}/totp", get().to(installation_people::ask_clear_totp))
            .route("/installation/people/{account}/totp", post().to(installation_people::clear_totp))
            .route("/installation/people/{account}/reset", get().to(installation_people::ask_reset))
            .route("/installation/people/{account}/reset", post().to(installation_people::reset))
            .route("/installation/keys", get().to(installation_keys::list))
            .route("/installation/keys/{key}", get().to(installation_keys::page))
            .route("/installation/keys/{key}/revoke", get().to(installation_keys::ask_revoke))
            .route("/installation/keys/{key}/revoke", post().to(installation_keys::revoke))
            .route("/installation/keys/{key}/delete", get().to(installation_keys::ask_delete))
            .route("/installation/keys/{key}/delete", post().to(installation_keys::delete))
            .route("/installation/mail", get().to(installation_mail::list))
            .route("/installation/mail/{id}", get().to(installation_mail::one))
            .route("/installation/mail/{id}/html", get().to(installation_mail::html))
            .route("/installation/mail/{id}/send", post().to(installation_mail::send_again))
            .route("/t/{tenant}/mail", get().to(mail::list))
            .route("/t/{tenant}/mail/{id}", get().to(mail::one))
            .route("/t/{tenant}/mail/{id}/html", get().to(mail::html))
            .route("/t/{tenant}/mail/{id}/send", post().to(mail::send_again))
            .route("/t/{tenant}/events", get().to(events::list))
            .route("/t/{tenant}/events.csv", get().to(events_export::csv))
            .route("/t/{tenant}/events.jsonl", get().to(events_export::json_lines))
            .route("/t/{tenant}/events/{number}", get().to(events::one))
            .route("/t/{tenant}/members", get().to(members::list))
            .route("/t/{tenant}/members/invite", get().to(members::ask_invite))
            .route("/t/{tenant}/members/invite", post().to(members::invite))
            .route("/t/{tenant}/members/invitations/{invitation}/withdraw", post().to(members::withdraw))
            .route("/t/{tenant}/members/service", get().to(members::ask_service))
            .route("/t/{tenant}/members/service", post().to(members::create_service))
            .route("/t/{tenant}/members/{member}", get().to(member::show))
            .route("/t/{tenant}/members/{member}/roles", post().to(member::set_roles))
            .route("/t/{tenant}/members/{member}/suspend", get().to(member::ask_suspend))
            .route("/t/{tenant}/members/{member}/suspend", post().to(member::suspend))
            .route("/t/{tenant}/members/{member}/restore", get().to(member::ask_restore))
            .route("/t/{tenant}/members/{member}/restore", post().to(member::restore))
            .route("/t/{tenant}/members/{member}/remove", get().to(member_remove::ask))
            .route("/t/{tenant}/members/{member}/remove", post().to(member_remove::remove))
            .route("/t/{tenant}/members/{member}/shut", post().to(member::shut))
            .route("/t/{tenant}/members/{member}/sessions/end", post().to(member::end_sessions))
            .route("/t/{tenant}/members/{member}/sessions/{session}/end", post().to(member::end_session))
            .route("/t/{tenant}/members/{member}/totp", get().to(member_help::ask_clear_totp))
            .route("/t/{tenant}/members/{member}/totp", post().to(member_help::clear_totp))
            .route("/t/{tenant}/members/{member}/reset", get().to(member_help::ask_reset))
            .route("/t/{tenant}/members/{member}/reset", post().to(member_help::reset))
            .route("/t/{tenant}/members/{member}/details", post().to(member::edit_service))
            .route("/t/{tenant}/members/{member}/keepers", post().to(member::add_keeper))
            .route("/t/{tenant}/members/{member}/keepers/{keeper}/remove", post().to(member::remove_keeper))
            .route("/t/{tenant}/members/{member}/access", get().to(member_access::ask_access))
            .route("/t/{tenant}/members/{member}/access", post().to(member_access::set_access))
            .route("/t/{tenant}/roles", get().to(roles::list))
            .route("/t/{tenant}/roles/new", get().to(roles::ask_new))
            .route("/t/{tenant}/roles/new", post().to(roles::create))
            .route("/t/{tenant}/roles/{role}", get().to(roles::ask_edit))
            .route("/t/{tenant}/roles/{role}", post().to(roles::edit))
            .route("/t/{tenant}/roles/{role}/delete", get().to(roles::ask_delete))
            .route("/t/{tenant}/roles/{role}/delete", post().to(roles::delete))
            .route("/invite/{token}", get().to(invite::ask))
            .route("/invite/{token}", post().to(invite::join))
            .route("/docs", get().to(docs::page))
            .route("/docs/{policy}", get().to(docs_policies::page))
            .route("/t/{tenant}/explain", get().to(explain::page))
            .route("/t/{tenant}/keys/disable", get().to(keys_many::confirm))
            .route("/t/{tenant}/keys/disable", post().to(keys_many::act))
            .route("/t/{tenant}/keys/enable", get().to(keys_many::confirm))
            .route("/t/{tenant}/keys/enable", post().to(keys_many::act))
            .route("/t/{tenant}/keys/revoke", get().to(keys_many::confirm))
            .route("/t/{tenant}/keys/revoke", post().to(keys_many::act))
            .route("/t/{tenant}/keys/delete", get().to(keys_many::confirm))
            .route("/t/{tenant}/keys/delete", post().to(keys_many::act))
            .route("/t/{tenant}/keys/new", get().to(key_create::form))
            .route("/t/{tenant}/keys/new", post().to(key_create::create))
            .route("/t/{tenant}/keys/find", get().to(key_find::form))
            .route("/t/{tenant}/keys/find", post().to(key_find::find))
            .route("/t/{tenant}/keys/{key}", get().to(key_page::page))
            .route("/t/{tenant}/keys/{key}/edit", get().to(key_edit::form))
            .route("/t/{tenant}/keys/{key}/edit", post().to(key_edit::edit))
            .route("/t/{tenant}/keys/{key}/roll", get().to(key_roll::ask))
            .route("/t/{tenant}/keys/{key}/roll", post().to(key_roll::roll))
            .route("/t/{tenant}/keys/{key}/finish", get().to(key_actions::ask_finish))
            .route("/t/{tenant}/keys/{key}/finish", post().to(key_actions::finish))
            .route("/t/{tenant}/keys/{key}/renew", get().to(key_actions::ask_renew))
            .route("/t/{tenant}/keys/{key}/renew", post().to(key_actions::renew))
            .route("/t/{tenant}/keys/{key}/disable", get().to(key_actions::ask_disable))
            .route("/t/{tenant}/keys/{key}/disable", post().to(key_actions::disable))
            .route("/t/{tenant}/keys/{key}/enable", get().to(key_actions::ask_enable))
            .route("/t/{tenant}/keys/{key}/enable", post().to(key_actions::enable))
            .route("/t/{tenant}/keys/{key}/revoke", get().to(key_actions::ask_revoke))
            .route("/t/{tenant}/keys/{key}/revoke", post().to(key_actions::revoke))
            .route("/t/{tenant}/keys/{key}/hand-over", get().to(key_hand_over::ask))
            .route("/t/{tenant}/keys/{key}/hand-over", post().to(key_hand_over::hand_over))
            .route("/t/{tenant}/keys/{key}/delete", get().to(key_actions::ask_delete))
            .route("/t/{tenant}/keys/{key}/delete", post().to(key_actions::delete))
            .route("/", get().to(sign_in::root))
            .route("/login", get().to(sign_in::ask_password))
            .route("/login", post().to(sign_in::password))
            .route("/login/code", get().to(sign_in::ask_code))
            .route("/login/code", post().to(sign_in::code))
            .route("/logout", post().to(sign_in::out))
            .route("/setup/{token}", get().to(set_up::ask))
            .route("/setup/{token}", post().to(set_up::finish))
            .route("/password/forgot", get().to(password::forgot))
            .route("/password/forgot", post().to(password::send_link))
            .route("/password/reset/{token}", get().to(password::ask_reset))
            .route("/password/reset/{token}", post().to(password::reset))
            .route("/extend/open/{notice}", get().to(extend::ask))
            .route("/extend/open/{notice}", post().to(extend::extend))
            .route("/extend/open/{notice}/stop", get().to(extend::ask_stop))
            .route("/extend/open/{notice}/stop", post().to(extend::stop))
            .route("/extend/{token}", get().to(extend::open))
            .route("/extend/{token}", post().to(extend::extend_now))
            .route("/extend/{token}/stop", get().to(extend::open_stop))
            .route("/extend/{token}/stop", post().to(extend::stop_now))
            .route("/profile", get().to(profile::show_profile))
            .route("/profile/tenants/{tenant}/leave", get().to(leave::ask))
            .route("/profile/tenants/{tenant}/leave", post().to(leave::leave))
            .route("/profile/theme", post().to(sign_in::theme))
            .route("/profile/preferences", post().to(profile::save_preferences))
            .route("/profile/email", get().to(email::ask))
            .route("/profile/email", post().to(email::send))
            .route("/profile/email/{token}", get().to(email::ask_confirm))
            .route("/profile/email/{token}", post().to(email::confirm))
            .route("/profile/password", get().to(password::ask_change))
            .route("/profile/password", post().to(password::change))
            .route("/profile/totp", get().to(two_step::ask))
            .route("/profile/totp", post().to(two_step::enrol))
            .route("/profile/totp/start", post().to(two_step::start))
            .route("/profile/totp/remove", post().to(two_step::remove))
            .route("/profile/totp/done", get().to(two_step::finished))
            .route("/profile/recovery-codes", post().to(two_step::new_codes))
            .route("/profile/sessions/end", post().to(profile::end_others))
            .route("/profile/sessions/{session}/end", post().to(profile::end_session)),
    }
}

/// What the top bar offers the installation owner.
fn owner_nav(path: &str) -> Vec<Link> {
    let link = |label: &str, url: &str| Link { label: label.into(), current: path == url || path.starts_with(&format!("{url}/")), url: url.into() };
    vec![
        link("Tenants", "/installation/tenants"),
        link("Keys of all tenants", "/installation/keys"),
        link("People", "/installation/people"),
        link("Mail", installation_mail::MAIL),
    ]
}

/// What the top bar offers a member.
fn nav(acting: &Acting, path: &str) -> Vec<Link> {
    let base = format!("/t/{}", acting.tenant.slug);
    let link = |label: &str, end: &str| {
        let url = format!("{base}{end}");
        Link { label: label.to_owned(), current: path == url || path.starts_with(&format!("{url}/")), url }
    };
    let mut links = Vec::new();
    if acting.may(Permission::KeysReadAny) {
        links.push(Link { current: path == base, ..link("Overview", "") });
        links.push(link("API keys", "/keys"));
    } else {
        links.push(Link { label: "My API keys".into(), url: format!("/profile?tenant={}", acting.tenant.slug), current: path == "/profile" });
    }
    if acting.may(Permission::MembersManage) {
        let members = link("Members", "/members");
        let on_roles = path.starts_with(&format!("{base}/roles"));
        links.push(Link { current: members.current || on_roles, ..members });
    } else if acting.may(Permission::SettingsManage) {
        links.push(link("Console roles", "/roles"));
    }
    if acting.may(Permission::AccessManage) {
        links.push(link("Access", "/access"));
    }
    if acting.may(Permission::SettingsManage) {
        links.push(link("Gateways", "/gateways"));
    }
    if acting.may(Permission::EventsRead) {
        let mail = path == format!("{base}/mail") || path.starts_with(&format!("{base}/mail/"));
        let events = link("Events", "/events");
        links.push(Link { current: events.current || mail, ..events });
    } else if acting.may(Permission::SettingsManage) {
        links.push(link("Mail", "/mail"));
    }
    if acting.may(Permission::SettingsManage) {
        links.push(link("Settings", "/settings"));
    }
    links
}
