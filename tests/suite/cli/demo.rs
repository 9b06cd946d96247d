//! `keyward demo`: what it prints is true, and what it shows is worth a look.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::BufRead as _,
    process::Command,
};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Place, Process, answers};
use crate::support::{
    Backend,
    browser::{self, Browser, Page},
    oathtool,
};

/// Starts it, and takes the object that it prints first.
fn start(place: &Place) -> (Process, Value) {
    let mut demo = place.start(&["demo", "--json", "--listen", "127.0.0.1:0"]);
    let mut first = String::new();
    demo.lines.read_line(&mut first).unwrap();
    let made: Value = serde_json::from_str(&first).unwrap();
    answers(made["url"].as_str().unwrap());
    (demo, made)
}

fn sign_in(url: &str, email: &str, password: &str, code: Option<&str>) -> Browser {
    let browser = Browser::new(url);
    let page = browser.submit("/login", &[("email", email), ("password", password)]);
    assert_eq!(page.status, 303, "{email}: {}", page.text());
    if let Some(code) = code {
        let page = browser.submit("/login/code", &[("totp", code)]);
        assert_eq!(page.status, 303, "{email}: {}", page.text());
    }
    browser
}

/// Everything that is printed until the last line of the words.
fn words(demo: &mut Process) -> Vec<String> {
    let mut all = Vec::new();
    while all.last().is_none_or(|line: &String| !line.contains("Stop with Ctrl-C")) {
        let mut line = String::new();
        assert!(demo.lines.read_line(&mut line).unwrap() > 0, "it ended after {all:?}");
        all.push(line.trim_end().to_owned());
    }
    all
}

#[test]
fn every_account_code_and_command_that_is_printed_works() {
    let place = Place::new(Backend::Sqlite);
    let mut demo = place.start(&["demo", "--listen", "127.0.0.1:0"]);
    let said = words(&mut demo);
    let url = said.iter().find_map(|line| line.strip_prefix("Keyward is at ")).unwrap();
    answers(url);
    let part = |title: &str| {
        let from = said.iter().position(|line| line.starts_with(title)).unwrap_or_else(|| panic!("no {title} in {said:?}"));
        said[from + 1..].iter().take_while(|line| line.starts_with("  ")).map(|line| line.trim_start()).collect::<Vec<_>>()
    };
    let codes: BTreeMap<&str, (&str, &str)> = part("Codes that are valid now")
        .into_iter()
        .map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap(), (words.next().unwrap(), words.next().unwrap()))
        })
        .collect();
    let accounts = part("Sign in as");
    assert!((12..=15).contains(&accounts.len()), "{accounts:?}");
    for (email, (code, secret)) in &codes {
        assert!(accounts.iter().any(|line| line.split_whitespace().next() == Some(email)), "{email} has a code and no password");
        let now = Utc::now();
        assert!([now, now - chrono::Duration::seconds(30)].iter().any(|at| oathtool(secret, *at) == *code), "{email}: {code} is not of {secret}");
    }
    for line in accounts {
        let (who, rest) = line.split_once(char::is_whitespace).unwrap();
        let (password, rest) = rest.trim_start().split_once("  ").unwrap();
        let (roles, tenant) = rest.split_once(" in ").map_or((rest, None), |(roles, tenant)| (roles, Some(tenant)));
        let browser = sign_in(url, who, password, codes.get(who).map(|(code, _)| *code));
        let profile = browser.open("/profile");
        assert_eq!(profile.status, 200, "{who}");
        for role in roles.split(", ") {
            assert!(profile.says(role), "{who} is no {role}: {}", profile.text());
        }
        let home = tenant.map_or_else(|| "/installation/tenants".to_owned(), |tenant| format!("/profile?tenant={tenant}"));
        assert_eq!(browser.get(&home).status, 200, "{who}: {home}");
    }
    let asked = Command::new("sh").args(["-c", &part("Ask as a gateway does").join("\n")]).output().unwrap();
    let answer = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("x-key-tenant: meridian"), "{answer} {}", String::from_utf8_lossy(&asked.stderr));
    assert!(demo.stop().success());
}

/// A key of the export, by column.
type Row = BTreeMap<String, String>;

/// How many minutes ago a text says that something was: `47 min ago`, `2 h ago`.
fn minutes_ago(text: &str) -> Option<u32> {
    let mut words = text.split_whitespace();
    let number: u32 = words.next()?.parse().ok()?;
    match words.next()? {
        "min" => Some(number),
        "h" => Some(number * 60),
        _ => None,
    }
}

/// The page of a member.
fn member(tenant: &str, browser: &Browser, name: &str) -> Page {
    let list = browser.open(&format!("/t/{tenant}/members?{}", serde_urlencoded::to_string([("q", name)]).unwrap()));
    browser.open(&list.attributes("tbody a.name", "href").remove(0))
}

/// Somebody who left made no key and no call after that.
fn leaves_no_use_behind_a_suspension(all: &[Row], tenant: &str, browser: &Browser) {
    let list = browser.open(&format!("/t/{tenant}/members?status=suspended"));
    let name = list.find("tbody a.name").unwrap();
    let page = member(tenant, browser, &name);
    let text = page.text();
    let since = text.split_once("Suspended since ").unwrap().1.split_once(" UTC").unwrap().0;
    let since = chrono::NaiveDateTime::parse_from_str(since, "%d %b %Y, %H:%M").unwrap().and_utc() + chrono::Duration::minutes(1);
    let of_theirs: Vec<_> = all.iter().filter(|key| key["owner"] == name).collect();
    assert!(of_theirs.len() >= 3, "{name} has {}", of_theirs.len());
    for key in of_theirs {
        for column in ["created_at", "last_used_at"] {
            assert!(key[column].parse::<DateTime<Utc>>().map_or(true, |at| at <= since), "{column} of {key:?}, suspended {since}");
        }
    }
    let events = browser.open(&format!("/t/{tenant}/events?action=member.suspend"));
    assert!(events.texts("#events tbody tr").iter().any(|row| row.contains("Suspended")), "{}", events.text());
}

/// The form of a key offers what its owner holds.
fn gives_keys_no_role_that_their_owners_lack(all: &[Row], grids: &[(&str, Browser)]) {
    let mut roles: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for key in all.iter().filter(|key| !["Same as owner", "Chosen scopes"].contains(&key["access"].as_str())) {
        roles.entry(&key["owner_email"]).or_default().insert(&key["access"]);
    }
    for (email, roles) in roles {
        let domain = email.split_once('@').unwrap().1;
        let (tenant, browser) = grids.iter().find(|(tenant, _)| domain.starts_with(tenant)).unwrap();
        let page = member(tenant, browser, email);
        for role in roles {
            assert!(page.texts("main .badge").iter().any(|held| held == role), "{email} does not hold {role}: {}", page.text());
        }
    }
}

/// The grid's export of a tenant, by column.
fn keys(page: &Page) -> Vec<Row> {
    assert!(page.header("content-type").unwrap().starts_with("text/csv"), "{}", page.body);
    let mut reader = csv::Reader::from_reader(page.body.as_bytes());
    reader.deserialize().map(Result::unwrap).collect()
}

#[test]
fn it_shows_three_hundred_keys_of_every_kind() {
    let place = Place::new(Backend::Sqlite);
    let (mut demo, made) = start(&place);
    let url = made["url"].as_str().unwrap();
    let accounts = made["accounts"].as_array().unwrap();
    let has = |account: &Value, role: &str| account["roles"].as_array().unwrap().iter().any(|held| held == role);
    for role in ["Installation owner", "Tenant admin", "Developer", "Auditor"] {
        assert!(accounts.iter().any(|account| has(account, role)), "{role}");
    }
    let admins: Vec<&Value> = accounts.iter().filter(|account| has(account, "Tenant admin")).collect();
    let tenants: BTreeSet<&str> = accounts.iter().filter_map(|account| account["tenant"].as_str()).collect();
    assert_eq!((admins.len(), tenants.len()), (2, 2));

    let (mut all, mut grids) = (Vec::new(), Vec::new());
    for admin in &admins {
        let code = oathtool(admin["totp_secret"].as_str().unwrap(), Utc::now());
        let browser = sign_in(url, admin["email"].as_str().unwrap(), admin["password"].as_str().unwrap(), Some(&code));
        let tenant = admin["tenant"].as_str().unwrap();
        all.extend(keys(&browser.get(&format!("/t/{tenant}/keys.csv"))));
        grids.push((tenant, browser));
    }
    assert_eq!(all.len(), 300);
    let now = Utc::now();
    let works = |key: &Row| key["works_until"].parse::<DateTime<Utc>>().is_ok_and(|until| until > now);
    let count = |what: &str, least: usize, fits: &dyn Fn(&Row) -> bool| {
        let found = all.iter().filter(|key| fits(key)).count();
        assert!(found >= least, "{found} {what}, at least {least} are wanted");
    };
    count("active", 100, &|key| key["status"] == "Active");
    count("in grace", 5, &|key| key["status"] == "Expired" && works(key));
    count("expired", 5, &|key| key["status"] == "Expired" && !works(key));
    count("disabled", 5, &|key| key["status"] == "Disabled");
    count("revoked", 10, &|key| key["status"] == "Revoked");
    count("that never expire", 5, &|key| key["expires_at"].is_empty());
    count("that expire within two weeks", 5, &|key| key["status"] == "Active" && key["remaining_days"].parse().is_ok_and(|days: i64| days < 14));
    count("with chosen scopes", 20, &|key| !key["scopes"].is_empty());
    count("with an access role", 20, &|key| !["Same as owner", "Chosen scopes"].contains(&key["access"].as_str()));
    count("same as owner", 20, &|key| key["access"] == "Same as owner");
    count("with chosen resources", 20, &|key| key["resources"].contains(':'));
    count("with address ranges", 20, &|key| !key["ip_ranges"].is_empty());
    count("with more recipients of notices", 10, &|key| !key["notice_recipients"].is_empty());
    count("used in 30 days", 150, &|key| key["accepted_30_days"] != "0");
    count("refused in 30 days", 10, &|key| key["refused_30_days"] != "0");
    count("never used", 3, &|key| key["last_used_at"].is_empty());
    count("with a reason why they were revoked", 5, &|key| !key["revoke_reason"].is_empty());
    let names: BTreeSet<&str> = all.iter().map(|key| key["name"].as_str()).collect();
    assert!(names.len() > 200, "only {} names", names.len());
    let owners: BTreeSet<&str> = all.iter().map(|key| key["owner"].as_str()).collect();
    assert!(owners.len() >= 12, "{owners:?}");
    let written = ["name", "comment", "owner", "owner_email", "notice_recipients", "revoke_reason", "disable_reason"];
    for text in all.iter().flat_map(|key| written.map(|column| key[column].to_lowercase())) {
        for filler in ["lorem", "ipsum", "foo", "asdf", "todo", "xxx", "placeholder", "john doe", "acme"] {
            assert!(!text.contains(filler), "{text}");
        }
    }
    // Nothing that is printed of a key lies in the future, or before it was made.
    for key in &all {
        let moment = |column: &str| key[column].parse::<DateTime<Utc>>().ok();
        let made_at = moment("created_at").unwrap();
        for column in ["created_at", "changed_at", "last_used_at"] {
            assert!(moment(column).is_none_or(|at| made_at <= at && at <= now), "{column} of {key:?}");
        }
    }

    // Every tab of the grid has what it counts, some overlaps run, and the pages of a tenant have something to show.
    for (tenant, browser) in &grids {
        for status in ["active", "expiring", "expired", "disabled", "revoked"] {
            let grid = browser.open(&format!("/t/{tenant}/keys?status={status}"));
            assert!(!grid.attributes("tr[id^=row-]", "id").is_empty(), "{tenant} {status}: {}", grid.text());
        }
        let rolled = browser.get(&format!("/t/{tenant}/events?action=key.roll"));
        assert!(rolled.says("Old secret stops on"), "{tenant}: {}", rolled.text());
        for (path, words) in [("", "30 days"), ("/members", "Developer"), ("/access", "shipments:read"), ("/access/resources", "Rotterdam")] {
            let page = browser.open(&format!("/t/{tenant}{path}"));
            assert!(page.status == 200 && page.says(words), "{tenant}{path}: {}", page.text());
        }
    }
    let overlaps = ["Warehouse sync – production", "Deploy pipeline"].map(|name| all.iter().find(|key| key["name"] == name).unwrap()["id"].clone());
    let (tenant, browser) = &grids[0];
    for id in overlaps {
        let page = browser.open(&format!("/t/{tenant}/keys/{id}"));
        let text = page.text();
        let ago = |label: &str| text.split_once(label).and_then(|(_, rest)| minutes_ago(rest));
        let (new, old, last) = (ago("New secret, last used "), ago("Old secret, last used "), ago(" Last used "));
        assert!(new.is_some() || old.is_some(), "{text}");
        assert_eq!(last, new.into_iter().chain(old).min(), "a key was last used when one of its secrets was: {text}");
    }
    leaves_no_use_behind_a_suspension(&all, tenant, browser);
    gives_keys_no_role_that_their_owners_lack(&all, &grids);

    let gateway = format!("Bearer {}", made["gateway_credential"].as_str().unwrap());
    for token in ["sample_token", "management_token"] {
        let body = serde_json::json!({ "key": made[token] });
        let answer = browser::call(url, "POST", "/api/v1/keys/verify", &[("Authorization", &gateway)], Some(body));
        assert_eq!(answer.json()["code"], "valid", "{token}");
    }
    assert!(demo.stop().success());
    // The folder keeps its demo: the same accounts the next time.
    assert_eq!(start(&place).1["accounts"], made["accounts"]);
}
