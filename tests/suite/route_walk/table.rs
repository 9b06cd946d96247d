//! Who gets which answer at which URL.
//!
//! # A new page
//! Add a line for its GET and one for its POST to [`IN_A_TENANT`], [`OF_AN_ACCOUNT`] or [`OF_THE_INSTALLATION`]: the path as it
//! stands in `web/mod.rs`, and one status for each person, in the order of the head of the table.
//! - `{key}`, `{id}` … are filled in by `Thing::of` in `world.rs`: teach it a name that it does not know. `{card=life}` gives the
//!   word itself, so that a URL can have several lines. A query may follow.
//! - GET may never change anything; after a status with a `+` it leaves an event. After a POST that is answered with 4xx or leads to the sign-in nothing may have changed; with
//!   any other status something must have, unless a `=` follows: `303=`.
//! - A POST sends the form of the GET at the same path, as somebody gets it who may, with the fields of `.with` changed; `.from`
//!   names another page. `<code>` is a code of the person's authenticator. `.plain()` sends the fields of `.with` alone.
//! - People, and IDs of another tenant or of nothing, for whom the answer is the same everywhere are not in the table: see `mod.rs`.

/// A line: what is asked for, and what each person gets.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// As in the list of URLs, but for `{name=value}` and a query.
    pub path: &'static str,
    /// A status for each person of the table.
    pub statuses: &'static str,
    /// Fields that are changed or added.
    pub fields: &'static [(&'static str, &'static str)],
    /// The page that has the form; empty for the same path.
    pub page: &'static str,
    /// Whether only `fields` are sent.
    pub plain: bool,
}

const fn get(path: &'static str, statuses: &'static str) -> Row {
    Row { method: "GET", path, statuses, fields: &[], page: "", plain: true }
}

const fn post(path: &'static str, statuses: &'static str) -> Row {
    Row { method: "POST", plain: false, ..get(path, statuses) }
}

impl Row {
    const fn with(self, fields: &'static [(&'static str, &'static str)]) -> Self {
        Self { fields, ..self }
    }

    const fn from(self, page: &'static str) -> Self {
        Self { page, ..self }
    }

    const fn plain(self) -> Self {
        Self { plain: true, ..self }
    }

    /// The path, and the page of its form: all that names things.
    pub fn paths(&self) -> String {
        format!("{} {}", self.path, self.page)
    }
}

/// The people of [`IN_A_TENANT`]: no console role; Developer without a key; Developer whose key it is; Auditor; Tenant admin.
pub const MEMBERS: [&str; 5] = ["nora", "mia", "dora", "audrey", "ada"];

/// Pages under a tenant's address, with things of that tenant.
#[rustfmt::skip]
pub const IN_A_TENANT: &[Row] = &[
    //                                              nora mia  dora audr ada
    get("/t/{tenant}",                             "303  303  303  200  200"),
    get("/t/{tenant}/keys",                        "303  303  303  200  200"),
    post("/t/{tenant}/keys",                       "303  303  303  303  303").plain().with(&[("col", "name"), ("back", "")]),
    get("/t/{tenant}/keys.csv",                    "200+ 200+ 200+ 200+ 200+"),
    get("/t/{tenant}/explain",                     "200  200  200  200  200"),
    get("/t/{tenant}/explain?key={key}",           "422  422  200  200  200"),
    get("/t/{tenant}/keys/find",                   "200  200  200  200  200"),
    post("/t/{tenant}/keys/find",                  "200= 200= 200= 200= 200=").with(&[("token", "<token>")]),

    get("/t/{tenant}/keys/new",                    "403  200  200  403  403"),
    post("/t/{tenant}/keys/new",                   "403  200  200  403  403"),
    get("/t/{tenant}/keys/new?owner={service}",    "403  403  200  403  403"),
    get("/t/{tenant}/keys/{key}",                  "404  404  200  200  200"),
    get("/t/{tenant}/keys/{key}/edit",             "404  404  200  403  403"),
    post("/t/{tenant}/keys/{key}/edit",            "404  404  303  403  403").with(&[("comment", "edited")]),
    get("/t/{tenant}/keys/{key}/roll",             "404  404  200  403  403"),
    post("/t/{tenant}/keys/{key}/roll",            "404  404  200  403  403").with(&[("totp", "<code>")]),
    get("/t/{tenant}/keys/{key}/finish",           "404  404  200  403  200"),
    post("/t/{tenant}/keys/{key}/finish",          "404  404  303  403  303"),
    get("/t/{tenant}/keys/{key}/renew",            "404  404  200  403  403"),
    post("/t/{tenant}/keys/{key}/renew",           "404  404  303  403  403"),
    get("/t/{tenant}/keys/{key}/disable",          "404  404  200  403  200"),
    post("/t/{tenant}/keys/{key}/disable",         "404  404  303  403  303"),
    // Disabled by its owner: only who manages the key may lift that.
    get("/t/{tenant}/keys/{key}/enable",           "404  404  200  403  403"),
    post("/t/{tenant}/keys/{key}/enable",          "404  404  303  403  403"),
    get("/t/{tenant}/keys/{key}/revoke",           "404  404  200  403  200"),
    post("/t/{tenant}/keys/{key}/revoke",          "404  404  303  403  303").with(&[("reason", "left the company")]),
    get("/t/{tenant}/keys/{key}/delete",           "404  404  200  403  200"),
    post("/t/{tenant}/keys/{key}/delete",          "404  404  303  403  303").with(&[("confirm", "delete")]),

    // Of keys that one may not see, nothing is told: as if none were chosen.
    get("/t/{tenant}/keys/disable?key={key}",      "303  303  200  403  200"),
    post("/t/{tenant}/keys/disable",               "303= 303= 303  403  303").from("/t/{tenant}/keys/disable?key={key}"),
    get("/t/{tenant}/keys/enable?key={key}",       "303  303  200  403  403"),
    post("/t/{tenant}/keys/enable",                "303= 303= 303  403  403").from("/t/{tenant}/keys/enable?key={key}"),
    get("/t/{tenant}/keys/revoke?key={key}",       "303  303  200  403  200"),
    post("/t/{tenant}/keys/revoke",                "303= 303= 303  403  303").from("/t/{tenant}/keys/revoke?key={key}"),
    get("/t/{tenant}/keys/delete?key={key}",       "303  303  200  403  200"),
    post("/t/{tenant}/keys/delete",                "303= 303= 303  403  303").from("/t/{tenant}/keys/delete?key={key}"),

    get("/t/{tenant}/access",                                "403  403  403  403  200"),
    get("/t/{tenant}/access/scopes/new",                     "403  403  403  403  200"),
    post("/t/{tenant}/access/scopes/new",                    "403  403  403  403  303").with(&[("scope", "walk:new")]),
    get("/t/{tenant}/access/scopes/edit?scope={scope}",      "403  403  403  403  200"),
    post("/t/{tenant}/access/scopes/edit",                   "403  403  403  403  303").from("/t/{tenant}/access/scopes/edit?scope={scope}").with(&[("description", "edited")]),
    get("/t/{tenant}/access/scopes/remove?scope={scope}",    "403  403  403  403  200"),
    post("/t/{tenant}/access/scopes/remove",                 "403  403  403  403  303").from("/t/{tenant}/access/scopes/remove?scope={scope}"),
    get("/t/{tenant}/access/roles",                          "403  403  403  403  200"),
    get("/t/{tenant}/access/roles/new",                      "403  403  403  403  200"),
    post("/t/{tenant}/access/roles/new",                     "403  403  403  403  303").with(&[("name", "Walked"), ("scope", "invoices:read")]),
    get("/t/{tenant}/access/roles/{role}",                   "403  403  403  403  200"),
    post("/t/{tenant}/access/roles/{role}",                  "403  403  403  403  303").with(&[("description", "edited")]),
    get("/t/{tenant}/access/roles/{role}/remove",            "403  403  403  403  200"),
    post("/t/{tenant}/access/roles/{role}/remove",           "403  403  403  403  303"),
    get("/t/{tenant}/access/resources",                      "403  403  403  403  200"),
    get("/t/{tenant}/access/resources/new",                  "403  403  403  403  200"),
    post("/t/{tenant}/access/resources/new",                 "403  403  403  403  303").with(&[("kind", "site"), ("name", "walked")]),
    get("/t/{tenant}/access/resources/{resource}/edit",      "403  403  403  403  200"),
    post("/t/{tenant}/access/resources/{resource}/edit",     "403  403  403  403  303").with(&[("description", "edited")]),
    get("/t/{tenant}/access/resources/{resource}/remove",    "403  403  403  403  200"),
    post("/t/{tenant}/access/resources/{resource}/remove",   "403  403  403  403  303"),

    get("/t/{tenant}/gateways",                    "403  403  403  403  200"),
    post("/t/{tenant}/gateways",                   "403  403  403  403  200").from("/t/{tenant}/gateways/new").with(&[("name", "edge"), ("totp", "<code>")]),
    get("/t/{tenant}/gateways/new",                "403  403  403  403  200"),
    get("/t/{tenant}/gateways/{id}/roll",          "403  403  403  403  200"),
    post("/t/{tenant}/gateways/{id}/roll",         "403  403  403  403  200").with(&[("totp", "<code>")]),
    get("/t/{tenant}/gateways/{id}/revoke",        "403  403  403  403  200"),
    post("/t/{tenant}/gateways/{id}/revoke",       "403  403  403  403  303").with(&[("totp", "<code>")]),

    get("/t/{tenant}/members",                                         "403  403  403  403  200"),
    get("/t/{tenant}/members/invite",                                  "403  403  403  403  200"),
    post("/t/{tenant}/members/invite",                                  "403  403  403  403  200").with(&[("email", "guest@walk.example")]),
    post("/t/{tenant}/members/invitations/{invitation}/withdraw",       "403  403  403  403  303").from("/t/{tenant}/members"),
    get("/t/{tenant}/members/service",                                 "403  403  403  403  200"),
    post("/t/{tenant}/members/service",                                 "403  403  403  403  303").with(&[("name", "Nightly build")]),
    get("/t/{tenant}/members/{member}",                                "403  403  403  403  200"),
    post("/t/{tenant}/members/{member}/roles",                          "403  403  403  403  303").from("/t/{tenant}/members/{member}").with(&[("role", "{auditor}")]),
    get("/t/{tenant}/members/{member}/suspend",                        "403  403  403  403  200"),
    post("/t/{tenant}/members/{member}/suspend",                        "403  403  403  403  303"),
    get("/t/{tenant}/members/{member}/restore",                        "403  403  403  403  200"),
    post("/t/{tenant}/members/{member}/restore",                        "403  403  403  403  303"),
    get("/t/{tenant}/members/{member}/remove",                         "403  403  403  403  200"),
    post("/t/{tenant}/members/{member}/remove",                         "403  403  403  403  303"),
    post("/t/{tenant}/members/{member}/shut",                           "403  403  403  403  303").plain(),
    post("/t/{tenant}/members/{member}/sessions/end",                   "403  403  403  403  303").plain(),
    post("/t/{tenant}/members/{member}/sessions/{session}/end",         "403  403  403  403  303").plain(),
    get("/t/{tenant}/members/{member}/totp",                           "403  403  403  403  200"),
    post("/t/{tenant}/members/{member}/totp",                           "403  403  403  403  303"),
    get("/t/{tenant}/members/{member}/reset",                          "403  403  403  403  200"),
    post("/t/{tenant}/members/{member}/reset",                          "403  403  403  403  303"),
    post("/t/{tenant}/members/{member}/details",                        "403  403  403  403  303").from("/t/{tenant}/members/{member}").with(&[("name", "Weekly build")]),
    post("/t/{tenant}/members/{member}/keepers",                        "403  403  403  403  303").from("/t/{tenant}/members/{member}").with(&[("email", "mia@acme.example")]),
    post("/t/{tenant}/members/{member}/keepers/{keeper}/remove",        "403  403  403  403  303").plain(),
    get("/t/{tenant}/members/{member}/access",                         "403  403  403  403  200"),
    post("/t/{tenant}/members/{member}/access",                         "403  403  403  403  303").with(&[("access", "{shipping}")]),
    get("/t/{tenant}/roles",                                           "403  403  403  403  200"),
    get("/t/{tenant}/roles/new",                                       "403  403  403  403  200"),
    post("/t/{tenant}/roles/new",                                       "403  403  403  403  303").with(&[("name", "Walker"), ("p", "events.read")]),
    get("/t/{tenant}/roles/{role}",                                    "403  403  403  403  200"),
    post("/t/{tenant}/roles/{role}",                                    "403  403  403  403  303").with(&[("p", "events.read")]),
    get("/t/{tenant}/roles/{role}/delete",                             "403  403  403  403  200"),
    post("/t/{tenant}/roles/{role}/delete",                             "403  403  403  403  303"),
    get("/t/{tenant}/keys/{key}/hand-over",                            "403  403  403  403  200"),
    // Shown once more before anything is done.
    post("/t/{tenant}/keys/{key}/hand-over",                            "403  403  403  403  200=").with(&[("to", "{colleague}")]),

    // Everybody sees the events of their own keys.
    get("/t/{tenant}/events",                      "200  200  200  200  200"),
    get("/t/{tenant}/events.csv",                  "200  200  200  200  200"),
    get("/t/{tenant}/events.jsonl",                "200  200  200  200  200"),
    get("/t/{tenant}/events/{number}",             "404  404  200  200  200"),

    get("/t/{tenant}/mail",                        "403  403  403  403  200"),
    get("/t/{tenant}/mail/{id}",                   "403  403  403  403  200"),
    get("/t/{tenant}/mail/{id}/html",              "403  403  403  403  200"),
    post("/t/{tenant}/mail/{id}/send",             "403  403  403  403  303").from("/t/{tenant}/mail/{id}"),

    get("/t/{tenant}/settings",                    "403  403  403  403  200"),
    post("/t/{tenant}/settings/{card=limits}",     "403  403  403  403  303").from("/t/{tenant}/settings").with(&[("per_member", "900")]),
    post("/t/{tenant}/settings/{card=life}",       "403  403  403  403  303").from("/t/{tenant}/settings").with(&[("overlap", "7")]),
    post("/t/{tenant}/settings/{card=admins}",     "403  403  403  403  303").from("/t/{tenant}/settings").with(&[("manage_all", "1")]),
    post("/t/{tenant}/settings/{card=codes}",      "403  403  403  403  303").from("/t/{tenant}/settings").with(&[("code_enable", "1")]),
    post("/t/{tenant}/settings/{card=retention}",  "403  403  403  403  303").from("/t/{tenant}/settings").with(&[("events", "399")]),
    get("/t/{tenant}/settings/keys",               "403  403  403  403  200"),
    post("/t/{tenant}/settings/keys",              "403  403  403  403  303"),
];

/// The people of [`OF_AN_ACCOUNT`]: nobody; a member; the installation owner.
pub const ACCOUNTS: [&str; 3] = ["nobody", "dora", "root"];

/// Pages of a person, in no tenant.
#[rustfmt::skip]
pub const OF_AN_ACCOUNT: &[Row] = &[
    //                                              nob. dora root
    get("/",                                       "303  303  303"),
    get("/docs",                                   "303  200  200"),
    get("/docs/{policy=own-keys}",                 "303  200  200"),
    get("/login",                                  "200  303  303"),
    post("/login",                                 "422= 422= 422=").plain().with(&[("email", ""), ("password", "")]),
    get("/login/code",                             "303  303  303"),
    post("/login/code",                            "303= 303= 303=").plain().with(&[("totp", "")]),
    get("/setup/{token}",                          "410  410  410"),
    post("/setup/{token}",                         "410  410  410").plain().with(&[("slug", "another")]),
    get("/password/forgot",                        "200  200  200"),
    post("/password/forgot",                       "200  200  200").with(&[("email", "nobody@nowhere.example")]),
    post("/password/forgot",                       "422  422  422").plain().with(&[("email", "")]),
    get("/password/reset/{token}",                 "200  200  200"),
    post("/password/reset/{token}",                "422  422  422").with(&[("new_password", "short")]),
    get("/invite/{token}",                         "200  200  200"),
    // Too short a password; for another address.
    post("/invite/{token}",                        "422  422  422").plain(),
    get("/profile/tenants/{tenant}/leave",         "303  200  404"),
    // What becomes of the keys is not said.
    post("/profile/tenants/{tenant}/leave",        "303= 422  404").plain(),
    get("/extend/{token}",                         "303  303  303"),
    post("/extend/{token}",                        "200  200  200").plain(),
    get("/extend/{token}/stop",                    "303  303  303"),
    post("/extend/{token}/stop",                   "200  200  200").plain(),
    // Nobody's browser has opened the link before.
    get("/extend/open/{notice}",                   "404  404  404"),
    post("/extend/open/{notice}",                  "404  404  404").plain(),
    get("/extend/open/{notice}/stop",              "404  404  404"),
    post("/extend/open/{notice}/stop",             "404  404  404").plain(),
    get("/profile",                                "303  200  200"),
    post("/profile/theme",                         "303= 303  303").plain().with(&[("theme", "dark")]),
    post("/profile/preferences",                   "303= 303  303").from("/profile").with(&[("time_zone", "Asia/Tokyo")]),
    get("/profile/email",                          "303  200  200"),
    post("/profile/email",                         "303= 422  422").with(&[("email", "new@nowhere.example")]),
    get("/profile/email/{token}",                  "410  410  410"),
    post("/profile/email/{token}",                 "410  410  410").plain(),
    get("/profile/password",                       "303  200  200"),
    post("/profile/password",                      "303= 422  422").with(&[("new_password", "kettle under the old pier")]),
    get("/profile/totp",                           "303  200  200"),
    post("/profile/totp",                          "303= 303= 303=").plain().with(&[("totp", "")]),
    post("/profile/totp/start",                    "303= 422  422").plain(),
    post("/profile/totp/remove",                   "303= 422  403").plain(),
    get("/profile/totp/done",                      "303  303  303"),
    post("/profile/recovery-codes",                "303= 422  422").plain(),
    post("/profile/sessions/{session}/end",        "303= 303= 303=").plain(),
    post("/profile/sessions/end",                  "303= 303= 303=").plain(),
    post("/logout",                                "303= 303  303").plain(),
];

/// Pages of the installation owner, for a Tenant admin and for the owner.
pub const OWNERS: [&str; 3] = ["nobody", "ada", "root"];

/// Pages over all tenants.
#[rustfmt::skip]
pub const OF_THE_INSTALLATION: &[Row] = &[
    //                                                       nob. ada  root
    get("/installation/tenants",                            "303  404  200"),
    get("/installation/tenants/new",                        "303  404  200"),
    post("/installation/tenants/new",                       "303= 404  200").with(&[("name", "Walked"), ("slug", "walked"), ("admin", "first@walked.example")]),
    get("/installation/tenants/{slug}/edit",                "303  404  200"),
    post("/installation/tenants/{slug}/edit",               "303= 404  303").with(&[("name", "Renamed"), ("seats", "3")]),
    get("/installation/tenants/{slug}/admin",               "303  404  200"),
    post("/installation/tenants/{slug}/admin",              "303= 404  200").with(&[("admin", "second@walked.example")]),
    get("/installation/tenants/{slug}/suspend",             "303  404  200"),
    post("/installation/tenants/{slug}/suspend",            "303= 404  303"),
    get("/installation/tenants/{slug}/restore",             "303  404  200"),
    post("/installation/tenants/{slug}/restore",            "303= 404  303"),
    get("/installation/people",                             "303  404  200"),
    get("/installation/people?email=dora@acme.example",     "303  404  200"),
    get("/installation/people/{account}/totp",              "303  404  200"),
    post("/installation/people/{account}/totp",             "303= 404  303"),
    get("/installation/people/{account}/reset",             "303  404  200"),
    post("/installation/people/{account}/reset",            "303= 404  303"),
    get("/installation/keys",                               "303  404  200"),
    get("/installation/keys/{key}",                         "303  404  200"),
    get("/installation/keys/{key}/revoke",                  "303  404  200"),
    post("/installation/keys/{key}/revoke",                 "303= 404  303").with(&[("reason", "leaked")]),
    get("/installation/keys/{key}/delete",                  "303  404  200"),
    post("/installation/keys/{key}/delete",                 "303= 404  303").with(&[("confirm", "delete")]),
    get("/installation/mail",                               "303  404  200"),
    get("/installation/mail/{id}",                          "303  404  200"),
    get("/installation/mail/{id}/html",                     "303  404  200"),
    post("/installation/mail/{id}/send",                    "303= 404  303").from("/installation/mail/{id}"),
];

/// What is served to programs and to everybody: method and path; what is asked of it is in the tests of verification.
pub const FOR_PROGRAMS: &[(&str, &str)] = &[
    ("*", "/api/v1/auth"),
    ("*", "/api/v1/auth/{tail:.*}"),
    ("POST", "/api/v1/keys/verify"),
    ("*", "/api/v1/keys/verify"),
    ("*", "/api/v1/{tail:.*}"),
    ("*", "/healthz"),
    ("*", "/readyz"),
    ("GET", "/static/{name:.*}"),
];
