//! What a first visit costs: the page and all that it fetches, as they go over the wire.

use chrono::{Duration, DurationRound as _};
use keyward::store::usage::{self, HourCount};
use sha2::{Digest as _, Sha256};

use super::{add, settings};
use crate::support::{
    TestApp,
    browser::{Browser, agent},
};
use keyward::domain::{
    ids::KeyId,
    ip_range::IpRanges,
    key::{Key, Use},
};

/// What lies between two marks.
fn between<'t>(text: &'t str, before: &str, after: &str) -> Vec<&'t str> {
    text.split(before).skip(1).filter_map(|rest| rest.split(after).next()).collect()
}

/// How many bytes come for a path, in the coding that they come in.
fn bytes(app: &TestApp, browser: &Browser, path: &str) -> usize {
    let asked = agent().get(format!("{}{path}", app.url)).header("accept-encoding", "gzip, deflate, br, zstd").header("cookie", browser.cookies());
    let mut answer = asked.call().unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.body_mut().with_config().limit(10_000_000).read_to_vec().unwrap().len()
}

/// Whether a face of the style sheet draws one of these characters.
fn draws(face: &str, text: &str) -> bool {
    let number = |hex: &str| u32::from_str_radix(hex.trim().trim_start_matches("U+"), 16).unwrap();
    let ranges: Vec<_> = between(face, "unicode-range:", ";")
        .concat()
        .split(',')
        .map(|range| range.split_once('-').map_or_else(|| (number(range), number(range)), |(from, to)| (number(from), number(to))))
        .collect();
    text.chars().any(|letter| ranges.iter().any(|(from, to)| (*from..=*to).contains(&u32::from(letter))))
}

/// All that a browser fetches to show a page, with its bytes: every file that the page names, and of the fonts those that have
/// a letter of it.
fn visit(app: &TestApp, browser: &Browser, path: &str) -> Vec<(String, usize)> {
    let page = browser.get(path);
    let mut files: Vec<String> = ["href", "src"]
        .iter()
        .flat_map(|name| between(&page.body, &format!("{name}=\""), "\""))
        .filter(|url| url.starts_with("/static/"))
        .map(|url| url.split('#').next().unwrap().to_owned())
        .collect();
    let styles = files.iter().find(|url| url.ends_with(".css")).unwrap().clone();
    for face in between(&browser.get(&styles).body.replace('}', ";}"), "@font-face", "}") {
        let text = if face.contains("Mono") { page.texts("code, .mono, .id, .ips").concat() } else { page.text() };
        if draws(face, &text) {
            files.push(between(face, "url(\"", "\"")[0].to_owned());
        }
    }
    files.sort();
    files.dedup();
    files.insert(0, path.to_owned());
    files.into_iter().map(|url| (bytes(app, browser, &url), url)).map(|(size, url)| (url, size)).collect()
}

fn total(visit: &[(String, usize)]) -> usize {
    visit.iter().map(|(_, bytes)| bytes).sum()
}

/// Bytes that differ from key to key, as those of a generator do.
fn chance(at: usize, what: &str) -> u64 {
    u64::from_be_bytes(Sha256::digest(format!("{what} {at}"))[..8].try_into().unwrap())
}

fn mixed(at: usize, key: &mut Key) {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let id: String = (0..16).map(|n| char::from(LETTERS[(chance(at, &format!("letter {n}")) % 62) as usize])).collect();
    let minutes = |what: &str, most: u64| Duration::minutes((chance(at, what) % most) as i64);
    let now = key.created_at;
    key.id = KeyId::parse(&id).unwrap();
    key.created_at = now - minutes("created", 80_000);
    key.life.expires_at = (at % 4 != 1).then(|| now + minutes("expires", 500_000) - Duration::days(20));
    key.life.disabled_at = (at % 11 == 5).then_some(now);
    key.life.revoked_at = (at % 13 == 7).then_some(now);
    key.comment = if at % 3 == 1 { format!("Rotated by hand, see ticket {}", chance(at, "ticket") % 10_000) } else { String::new() };
    let ranges = format!("203.0.113.{}/32\n198.51.100.0/{}", chance(at, "host") % 256, 24 + at % 3);
    key.ip_ranges = if at % 4 > 1 { IpRanges::parse(&ranges).unwrap() } else { IpRanges::default() };
    key.last_used = (at % 5 != 1).then(|| Use { at: now - minutes("used", 9_000), ip: Some(format!("203.0.113.{}", chance(at, "from") % 256)) });
}

/// Fifty keys that differ as keys do: IDs, dates, addresses, comments, and requests on most days.
fn fifty(app: &TestApp) {
    const WORDS: [&str; 7] = ["Returns portal", "Route planner", "Nightly sync", "Label printer", "Warehouse scanner", "Invoice export", "Staging"];
    let names: Vec<String> = (0..50).map(|at| format!("{} {}", WORDS[at % 7], 1 + at / 7)).collect();
    let hour = app.now().duration_trunc(Duration::hours(1)).unwrap();
    for (owner, names) in [("acme/dora", &names[..25]), ("acme/emil", &names[25..])] {
        let ids = add(app, owner, 'W', names, |at, key| mixed(at + if owner.ends_with("emil") { 25 } else { 0 }, key));
        let hours: Vec<HourCount> = ids
            .iter()
            .enumerate()
            .filter(|(at, _)| at % 3 != 1)
            .flat_map(|(at, key)| (0..30).map(move |day| (at, *key, day)))
            .map(|(at, key, day)| HourCount {
                tenant: app.fixture.tenants["acme"],
                key,
                hour: (hour - Duration::days(day)).timestamp() / 3600,
                accepted: (chance(at, &format!("{owner} accepted {day}")) % 3_000) as i64,
                refused: (chance(at, &format!("{owner} refused {day}")) % 40).saturating_sub(30) as i64,
            })
            .collect();
        app.write(|tx| usage::insert_many(tx, &hours));
    }
}

both! {
    fn a_first_visit_of_a_full_page_of_keys_is_under_60_kb(app) {
        fifty(app);
        // Then a row's menu has every verb.
        settings(app, |settings| settings.admins_manage_all = true);
        let ada = app.signed_in("ada");
        assert_eq!(ada.get("/t/acme/keys").texts("tbody tr").len(), 50);
        let fetched = visit(app, &ada, "/t/acme/keys");
        let named = |end: &str| fetched.iter().filter(|(url, _)| url.ends_with(end)).count();
        assert!((named(".css"), named(".js"), named(".woff2")) == (1, 2, 2) && fetched.len() == 8, "{fetched:#?}");
        assert!(total(&fetched) < 60_000, "{} bytes: {fetched:#?}", total(&fetched));
    }

    fn a_letter_beyond_english_fetches_one_more_small_font(app) {
        let ada = app.signed_in("ada");
        let plain = visit(app, &ada, "/t/acme/keys");
        for (name, most) in [("Gießen", 4_500), ("Gdańsk", 7_500), ("5 €", 4_500)] {
            app.sql(&format!("UPDATE keys SET name = '{name}' WHERE name = '{}'", ada.get("/t/acme/keys").texts("tbody a.name")[0]));
            let more = visit(app, &ada, "/t/acme/keys");
            let fonts: Vec<_> = more.iter().filter(|(url, _)| url.ends_with(".woff2") && !plain.iter().any(|(known, _)| known == url)).collect();
            assert!(fonts.len() == 1 && fonts[0].1 <= most, "{name}: {fonts:?}");
        }
    }

    fn the_sign_in_page_needs_neither_htmx_nor_symbols(app) {
        let fetched = visit(app, &app.browser(), "/login");
        assert!(!fetched.iter().any(|(url, _)| url.contains("htmx")), "{fetched:#?}");
        assert!(total(&fetched) < 35_000, "{} bytes: {fetched:#?}", total(&fetched));
    }
}
