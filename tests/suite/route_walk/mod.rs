//! Every URL of the console, asked as everybody, with real IDs of this tenant and of another: `table.rs` says who gets what, and how
//! to add a page. The list of URLs is the router's own, so a page that is not in the table makes the first test fail.
//!
//! Not in the table, because it is the same everywhere under a tenant's address: who is not signed in is led to the sign-in;
//! the installation owner, an admin of another tenant and a suspended member get 404; an ID of another tenant is as good as none.

mod table;
mod world;

use std::{collections::BTreeSet, fs, path::Path};

use keyward::{api, web};
use table::{ACCOUNTS, FOR_PROGRAMS, IN_A_TENANT, MEMBERS, OF_AN_ACCOUNT, OF_THE_INSTALLATION, OWNERS, Row};
use world::{CANARY, Request, Thing, Whose, World};

use crate::support::browser::{self, Page};

/// What a person gets, and whether it may leave a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expected {
    status: u16,
    changes: bool,
    /// A GET that leaves an event, and nothing else.
    noted: bool,
}

impl Row {
    fn expected(&self, people: &[&'static str]) -> Vec<(&'static str, Expected)> {
        let statuses: Vec<&str> = self.statuses.split_whitespace().collect();
        assert_eq!(statuses.len(), people.len(), "{} {}: a status for each of {people:?}", self.method, self.path);
        let read = |text: &str| {
            let status = text.trim_end_matches(['=', '+']).parse().unwrap();
            Expected { status, changes: self.method == "POST" && !text.ends_with('=') && status < 400, noted: text.ends_with('+') }
        };
        people.iter().copied().zip(statuses.into_iter().map(read)).collect()
    }

    /// The path as it stands in the list of URLs.
    fn url(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        path.split('/')
            .map(|part| if part.starts_with('{') { format!("{}}}", part.split(['=', '}']).next().unwrap()) } else { part.to_owned() })
            .collect::<Vec<_>>()
            .join("/")
    }

    /// Whether a thing is named beside the tenant.
    fn names_a_thing(&self) -> bool {
        let all =
            format!("{}{}{:?}", self.path, self.page, self.fields).replace("{auditor}", "").replace("{shipping}", "").replace("{colleague}", "");
        all.contains("<token>")
            || all.match_indices('{').any(|(at, _)| !all[at..].starts_with("{tenant}") && !all[at..].split('}').next().unwrap().contains('='))
    }

    /// The request for `thing`, with the form as `knower` gets it; the fields of the row are filled in for `sender`.
    fn request(&self, world: &World<'_>, thing: &Thing, knower: &str, sender: &str) -> Request {
        let path = thing.fill(self.path);
        let mut fields: Vec<(String, String)> = Vec::new();
        if self.method == "POST" && !self.plain {
            let page = if self.page.is_empty() { path.clone() } else { thing.fill(self.page) };
            let page = world.browser(knower).open(&page);
            let form = page.form(path.split('?').next().unwrap_or_default());
            fields.extend(form.into_iter().filter(|(name, _)| name != "csrf" && !self.fields.iter().any(|(changed, _)| changed == name)));
        }
        for (name, value) in self.fields {
            let value = if *value == "<code>" { world.code(sender) } else { thing.fill(value) };
            fields.push(((*name).to_owned(), value));
        }
        Request { method: self.method, path, fields }
    }
}

/// All that goes wrong, so that one run shows it.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn unless(&mut self, good: bool, words: impl FnOnce() -> String) {
        if !good {
            self.0.push(words());
        }
    }

    fn done(self) {
        assert!(self.0.is_empty(), "{} wrong:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// What every answer of the console has, whatever its status.
fn look_at(page: &Page, who: &str, wrong: &mut Wrong) {
    let header = |name: &str| page.header(name).unwrap_or_default();
    let policy = header("content-security-policy");
    // A mail in its frame may do nothing but look like itself.
    if policy.starts_with("sandbox; default-src 'none';") && policy.ends_with("frame-ancestors 'self'") {
        return wrong.unless(header("x-frame-options") == "SAMEORIGIN", || format!("{who} {}: headers {:?}", page.path, page.headers));
    }
    let careful =
        policy.starts_with("default-src 'none'; script-src 'self'") && policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe");
    let referrer = ["same-origin", "no-referrer"].contains(&header("referrer-policy").as_str());
    let rest = header("x-content-type-options") == "nosniff" && header("cache-control").contains("no-store") && header("x-frame-options") == "DENY";
    wrong.unless(careful && referrer && rest, || format!("{who} {}: headers {:?}", page.path, page.headers));
    if page.status >= 400 {
        wrong.unless(page.find("h1").is_some(), || format!("{who} {}: {} without a page: {}", page.path, page.status, page.body));
    }
    wrong.unless(page.status < 500, || format!("{who} {}: {}", page.path, page.status));
}

/// Sends a request and compares answer and tables with what is expected.
fn ask(world: &World<'_>, who: &'static str, request: &Request, expected: Expected, wrong: &mut Wrong) -> Page {
    let (before, page, after) = world.watch(who, request);
    let line = format!("{} {} as {who}", request.method, request.path);
    look_at(&page, &line, wrong);
    wrong.unless(page.status == expected.status, || {
        let to = page.location().unwrap_or_default();
        format!(
            "{line}: {} {to}, not {}: {}",
            page.status,
            expected.status,
            page.find("main").unwrap_or_default().chars().take(300).collect::<String>()
        )
    });
    let changed: BTreeSet<&str> = before.iter().filter(|(table, text)| after.get(*table) != Some(text)).map(|(table, _)| table.as_str()).collect();
    let good = if expected.noted { changed.iter().eq(&["event_chains", "events"]) } else { changed.is_empty() != expected.changes };
    wrong.unless(good || page.status != expected.status && changed.is_empty(), || format!("{line}: {} changed {changed:?}", page.status));
    page
}

/// Whether a person who gets this may do it.
fn is_allowed(expected: Expected) -> bool {
    ![403, 404, 410].contains(&expected.status)
}

/// Who gets the form: somebody who may send it.
fn knower(all: &[(&'static str, Expected)]) -> &'static str {
    let people = || all.iter().filter(|(name, _)| *name != "nobody");
    let found = people().find(|(_, expected)| expected.changes).or_else(|| people().find(|(_, expected)| is_allowed(*expected)));
    found.map_or("dora", |(name, _)| name)
}

/// Walks a table as its people.
fn walk(world: &World<'_>, rows: &[Row], people: &[&'static str], wrong: &mut Wrong) {
    for row in rows {
        let all = row.expected(people);
        let knower = knower(&all);
        let shared = world.thing(Whose::Acme, &row.paths());
        let refused = row.request(world, &shared, knower, "nobody");
        for (who, expected) in all {
            let page = if !expected.changes || who == "nobody" {
                ask(world, who, &refused, expected, wrong)
            } else {
                let request = row.request(world, &world.thing(Whose::Acme, &row.paths()), who, who);
                ask(world, who, &request, expected, wrong)
            };
            let hidden = page.status == 404 || ["nora", "mia"].contains(&who);
            wrong.unless(!(hidden && page.body.contains(CANARY)), || format!("{} {} as {who} tells what it hides", row.method, row.path));
            if row.method == "POST" {
                world.restore_settings();
                world.come_back(who);
            }
        }
        if row.path.starts_with("/t/") {
            let leads_to_sign_in = ask(world, "nobody", &refused, Expected { status: 303, changes: false, noted: false }, wrong);
            let to = leads_to_sign_in.location().unwrap_or_default();
            wrong.unless(to.starts_with("/login"), || format!("{} leads nobody to {to}", row.path));
            for stranger in ["root", "gus", "emil"] {
                let page = ask(world, stranger, &refused, Expected { status: 404, changes: false, noted: false }, wrong);
                wrong.unless(!page.body.contains(CANARY), || format!("{} tells {stranger} what it hides", row.path));
            }
        }
    }
}

/// A body without what differs from answer to answer.
fn plain(page: &Page, thing: &Thing) -> String {
    // The token of a form: a nonce, a dot, and a proof.
    let is_hex = |text: &str| text.len() >= 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts = page.body.split(['"', '\'', '&']).map(|part| match part.split_once('.') {
        Some((nonce, proof)) if is_hex(nonce) && is_hex(proof) => "",
        _ => part,
    });
    let text = parts.collect::<Vec<_>>().join("\"");
    let names = thing.names.iter().filter(|(name, _)| **name != "tenant").map(|(_, value)| value).chain([&thing.token]);
    names.filter(|value| !value.is_empty()).fold(text, |text, value| match value.len() {
        // A short number stands for a thing in an address only.
        ..10 => {
            ["/", "%2F", "owner=", "owner%3D"].iter().fold(text, |text, before| text.replace(&format!("{before}{value}"), &format!("{before}ID")))
        }
        _ => text.replace(value, "ID"),
    })
}

/// Where two texts part.
fn parting(left: &str, right: &str) -> String {
    let at = left.bytes().zip(right.bytes()).take_while(|(one, other)| one == other).count();
    let around = |text: &str| String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(40)..text.len().min(at + 80)]).into_owned();
    if left == right { String::new() } else { format!("{:?} or {:?}", around(left), around(right)) }
}

#[test]
fn every_url_is_in_a_table() {
    let web::Pages { files, pages } = web::urls();
    let mut served: BTreeSet<(String, String)> = BTreeSet::new();
    for (method, path) in api::urls().list().into_iter().chain(files.list()).chain(pages.list()) {
        assert!(served.insert((method.to_owned(), path.to_owned())), "{method} {path} stands twice in the list of URLs");
    }
    let rows = IN_A_TENANT.iter().chain(OF_AN_ACCOUNT).chain(OF_THE_INSTALLATION);
    let mut known: BTreeSet<(String, String)> = rows.map(|row| (row.method.to_owned(), row.url())).collect();
    known.extend(FOR_PROGRAMS.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())));
    let unknown: Vec<_> = served.difference(&known).collect();
    assert!(unknown.is_empty(), "say in tests/suite/route_walk/table.rs who may do what at {unknown:?}");
    let gone: Vec<_> = known.difference(&served).collect();
    assert!(gone.is_empty(), "nothing is served at {gone:?}");
    for row in IN_A_TENANT {
        assert!(row.path.starts_with("/t/{tenant}"), "{}", row.path);
    }
}

/// Nothing but the lists adds a URL, so nothing escapes the test above.
#[test]
fn urls_are_registered_from_the_lists_alone() {
    const WORDS: [&str; 14] = [
        ".service(",
        ".configure(",
        ".default_service(",
        "web::resource",
        "web::scope",
        "web::route(",
        "web::get(",
        "web::post(",
        "web::to(",
        "Resource::new",
        "Scope::new",
        "HttpServer",
        "#[get(",
        "#[post(",
    ];
    fn scan(dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                scan(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let file = path.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap().display().to_string();
                for line in
                    fs::read_to_string(&path).unwrap().lines().map(str::trim).filter(|line| !line.starts_with("//") && !line.starts_with("use "))
                {
                    if WORDS.iter().any(|word| line.contains(word)) {
                        found.push(format!("{file}: {line}"));
                    }
                }
            }
        }
    }
    let mut found = Vec::new();
    scan(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut found);
    found.sort();
    assert_eq!(
        found,
        [
            "app.rs: Actix::new().app_data(app.site.clone()).app_data(app.gate.clone()).app_data(app.skew.clone()).configure(api::routes).configure(web::pages)",
            "app.rs: let server = HttpServer::new(move || {",
            "web/mod.rs: config.service(pages.within(scope).default_service(nowhere));",
            "web/mod.rs: let nowhere = web::to(|| async { Err::<actix_web::HttpResponse, _>(WebError::NotFound) });",
            "web/mod.rs: let scope = web::scope(\"\").wrap(from_fn(guard::guard)).wrap(Compress::default());",
            "web/urls.rs: Verb(\"*\", web::route())",
            "web/urls.rs: Verb(\"GET\", web::get())",
            "web/urls.rs: Verb(\"POST\", web::post())",
        ]
    );
}

both! {
    fn each_member_may_do_what_their_roles_say_and_strangers_find_nothing(app) {
        let (world, mut wrong) = (World::new(app), Wrong::default());
        walk(&world, IN_A_TENANT, &MEMBERS, &mut wrong);
        wrong.done();
    }

    fn pages_of_an_account_and_of_the_installation_open_for_whom_they_are(app) {
        let (world, mut wrong) = (World::new(app), Wrong::default());
        walk(&world, OF_THE_INSTALLATION, &OWNERS, &mut wrong);
        walk(&world, OF_AN_ACCOUNT, &ACCOUNTS, &mut wrong);
        wrong.done();
    }

    fn what_is_in_another_tenant_does_not_exist(app) {
        let (world, mut wrong) = (World::new(app), Wrong::default());
        for row in IN_A_TENANT.iter().filter(|row| row.names_a_thing()) {
            let all = row.expected(&MEMBERS);
            let knower = knower(&all);
            let acmes = world.thing(Whose::Acme, &row.paths());
            let form = row.request(&world, &acmes, knower, knower);
            let others = [world.thing(Whose::Globex, &row.paths()), world.thing(Whose::Nobody, &row.paths())];
            // The form of a thing that one may see, with the ID of one that one may not.
            let moved = |thing: &Thing, slug: &str| {
                let swaps = || acmes.names.iter().filter(|(name, _)| **name != "tenant").map(|(name, value)| (value, &thing.names[name])).chain([(&acmes.token, &thing.token)]);
                let swap = |text: &String| swaps().find(|(from, _)| !from.is_empty() && text == *from).map_or_else(|| text.clone(), |(_, to)| to.clone());
                let fields = form.fields.iter().map(|(name, value)| (name.clone(), swap(value))).collect();
                Request { method: form.method, path: thing.fill(row.path).replace("/t/acme", &format!("/t/{slug}")), fields }
            };
            for (who, slug, expected) in all.iter().map(|(who, expected)| (*who, "acme", Some(*expected))).chain([("gus", "globex", None)]) {
                let theirs = if slug == "globex" { &acmes } else { &others[0] };
                let answers = [theirs, &others[1]].map(|thing| {
                    let request = moved(thing, slug);
                    let (before, page, after) = world.watch(who, &request);
                    wrong.unless(before == after, || format!("{} {} as {who} changed something", request.method, request.path));
                    look_at(&page, who, &mut wrong);
                    if page.status == 303 {
                        // What is said once is said here.
                        world.browser(who).open("/profile");
                    }
                    (page.status, page.location(), plain(&page, thing))
                });
                let line = format!("{} {} as {who} in {slug}", row.method, row.path);
                let (one, nothing) = (&answers[0], &answers[1]);
                let same = (one.0, &one.1) == (nothing.0, &nothing.1);
                wrong.unless(same, || format!("{line}: {} {:?}, of nothing {} {:?}", one.0, one.1, nothing.0, nothing.1));
                wrong.unless(one.2 == nothing.2, || format!("{line}: what is told differs: {}", parting(&one.2, &nothing.2)));
                wrong.unless(!answers[0].2.contains(CANARY), || format!("{line} tells what it hides"));
                let path = row.path.split('?').next().unwrap_or_default();
                if path.matches('{').count() > 1 {
                    let refused = expected.map_or(404, |expected| if is_allowed(expected) { 404 } else { expected.status });
                    // A permission may be asked for before the thing is looked up: then it is 403, for nothing at all, too.
                    let good = answers[0].0 == refused || (refused == 403 && answers[0].0 == 404);
                    wrong.unless(good, || format!("{line}: {}, not {refused}", answers[0].0));
                }
            }
        }
        wrong.done();
    }

    fn a_form_of_another_session_or_site_changes_nothing(app) {
        let (world, mut wrong) = (World::new(app), Wrong::default());
        let tables = [(IN_A_TENANT, &MEMBERS[..]), (OF_AN_ACCOUNT, &ACCOUNTS), (OF_THE_INSTALLATION, &OWNERS)];
        for (rows, people) in tables {
            for row in rows.iter().filter(|row| row.method == "POST") {
                let all = row.expected(people);
                let who = knower(&all);
                let request = row.request(&world, &world.thing(Whose::Acme, &row.paths()), who, who);
                let browser = world.browser(who);
                let theirs = world.browser(if who == "audrey" { "ada" } else { "audrey" }).open("/profile").csrf().unwrap();
                let stranger = world.browser("nobody").open("/login").csrf().unwrap();
                browser.open(if who == "nobody" { "/login" } else { "/profile" });
                let fields: Vec<(&str, &str)> = request.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let with = |csrf: &'static str| -> Vec<(&str, &str)> { fields.iter().copied().chain([("csrf", csrf)]).collect() };
                let before = world.tables();
                let mut answers = vec![
                    ("no token", browser.post(&request.path, &with(""))),
                    ("a token of another session", browser.post(&request.path, &with(theirs.leak()))),
                    ("a cross-site form", browser.post_from(&request.path, &fields, &[("sec-fetch-site", "cross-site"), ("origin", &app.url)])),
                    ("a form of another host here", browser.post_from(&request.path, &fields, &[("sec-fetch-site", "same-site")])),
                    ("a form from nowhere", browser.post_from(&request.path, &fields, &[])),
                    ("a form of a hidden origin", browser.post_from(&request.path, &fields, &[("origin", "null")])),
                    ("a form of another origin", browser.post_from(&request.path, &fields, &[("origin", "https://evil.example")])),
                ];
                if who != "nobody" {
                    answers.push(("a token from before the sign-in", browser.post(&request.path, &with(stranger.leak()))));
                }
                for (how, page) in answers {
                    look_at(&page, who, &mut wrong);
                    wrong.unless(page.status == 403, || format!("POST {} as {who} with {how}: {}", request.path, page.status));
                }
                let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let agent = browser::agent().post(format!("{}{}", app.url, request.path)).header("origin", &app.url);
                let agent = agent.header("cookie", browser.cookies()).header("x-csrf-token", browser.token()).header("content-type", "text/plain");
                let answer = agent.send(body.join("&")).unwrap();
                wrong.unless(answer.status() == 403, || format!("POST {} as plain text: {}", request.path, answer.status()));
                wrong.unless(world.tables() == before, || format!("POST {} as {who}: something changed", request.path));
            }
        }
        wrong.done();
    }

    fn in_a_suspended_tenant_admins_look_and_nobody_acts(app) {
        let (world, mut wrong) = (World::new(app), Wrong::default());
        for row in IN_A_TENANT {
            let all = row.expected(&MEMBERS);
            let knower = knower(&all);
            let request = row.request(&world, &world.thing(Whose::Acme, &row.paths()), knower, knower);
            world.sql("UPDATE tenants SET suspended_at = 1795255200000000 WHERE slug = 'acme'");
            for (who, expected) in all {
                let status = if who == "ada" && row.method == "GET" { expected.status } else { 403 };
                // A question about what cannot be done now may be refused with its reason.
                let page = ask(&world, who, &request, Expected { status, changes: false, noted: false }, &mut Wrong::default());
                wrong.unless(page.status < 500, || format!("{} {} as {who}: {}", row.method, request.path, page.status));
                let asks = IN_A_TENANT.iter().any(|other| other.method == "POST" && other.url() == row.url());
                let good = page.status == status || (who == "ada" && asks && [403, 409].contains(&page.status));
                wrong.unless(good, || format!("{} {} as {who}: {}, not {status}", row.method, request.path, page.status));
            }
            world.sql("UPDATE tenants SET suspended_at = NULL WHERE slug = 'acme'");
        }
        wrong.done();
    }

    fn what_is_not_there_has_a_page_that_says_so(app) {
        let (world, mut wrong) = (World::new(app), Wrong::default());
        let before = world.tables();
        for who in ["nobody", "ada", "gus", "root"] {
            for path in ["/nothing", "/t", "/t/", "/t/nowhere", "/t/ACME", "/t/acme/nothing", "/t/nowhere/keys", "/t/acme/keys/x", "/t/acme/keys/0123456789abcdef/nothing", "/t/acme/keys/..%2f..", "/t/acme/gateways/x/roll", "/t/acme/gateways/-1/roll", "/t/acme/gateways/99999999999999999999/roll", "/t/acme/settings/nothing", "/profile/nothing", "/%00", "/t/%ff/keys"] {
                let page = world.browser(who).get(path);
                look_at(&page, who, &mut wrong);
                let led = who == "nobody" && page.status == 303 && page.location().is_some_and(|to| to.starts_with("/login"));
                wrong.unless(page.status == 404 || led, || format!("GET {path} as {who}: {}", page.status));
            }
        }
        for row in OF_THE_INSTALLATION.iter().filter(|row| row.method == "GET" && row.path.contains('{')) {
            let path = world.thing(Whose::Nobody, &row.paths()).fill(row.path);
            let page = world.browser("root").get(&path);
            wrong.unless(page.status == 404, || format!("GET {path} as root: {}", page.status));
        }
        let cookie = |name: &str| world.browser(name).cookies();
        for row in IN_A_TENANT.iter().chain(OF_AN_ACCOUNT).chain(OF_THE_INSTALLATION) {
            let path = row.path.replace("{token}", "kwr_none");
            let path = world.thing(Whose::Nobody, &path).fill(&path);
            for method in ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
                let page = browser::call(&app.url, method, &path, &[("cookie", &cookie("ada"))], None);
                wrong.unless([403, 404, 405].contains(&page.status), || format!("{method} {path}: {}", page.status));
                wrong.unless(page.header("access-control-allow-origin").is_none(), || format!("{method} {path} lets other sites in"));
            }
        }
        wrong.unless(world.tables() == before, || "something changed".to_owned());
        wrong.done();
    }

    fn tokens_open_no_page_and_a_session_opens_no_call(app) {
        let (world, mut wrong) = (World::new(app), Wrong::default());
        let key = app.fixture.key("dora");
        let gateway = app.gateway("acme");
        for row in IN_A_TENANT.iter().chain(OF_AN_ACCOUNT).chain(OF_THE_INSTALLATION).filter(|row| row.method == "GET") {
            let path = world.thing(Whose::Acme, &row.paths()).fill(row.path);
            for token in [&key.token, &gateway] {
                let bearer = format!("Bearer {token}");
                let cookie = format!("keyward-{}={token}", app.url.rsplit_once(':').unwrap().1);
                for headers in [vec![("authorization", bearer.as_str()), ("x-api-key", token)], vec![("cookie", cookie.as_str())]] {
                    let (bare, page) = (app.browser().get(&path), app.browser().get_with(&path, &headers));
                    wrong.unless((page.status, page.location()) == (bare.status, bare.location()), || format!("GET {path} with a token: {}", page.status));
                }
            }
        }
        let cookie = world.browser("ada").cookies();
        for (method, path) in FOR_PROGRAMS.iter().filter(|(_, path)| path.starts_with("/api/")) {
            let expected: &[u16] = if *path == "/api/v1/{tail:.*}" { &[404] } else { &[401, 403, 405] };
            let path = path.replace("{tail:.*}", "t/acme/keys");
            for method in if *method == "*" { vec!["GET", "POST", "DELETE"] } else { vec![*method] } {
                let page = browser::call(&app.url, method, &path, &[("cookie", &cookie)], None);
                wrong.unless(expected.contains(&page.status), || format!("{method} {path} with a session: {}", page.status));
            }
        }
        wrong.done();
    }
}
