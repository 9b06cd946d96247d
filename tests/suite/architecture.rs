//! The arrows between the parts, read from the source: what a part uses is what the map in `lib.rs` allows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What each part may use besides itself.
const ARROWS: [(&str, &[&str]); 15] = [
    ("domain", &[]),
    ("clock", &["domain"]),
    ("chance", &[]),
    ("config", &["domain"]),
    ("secrets", &["domain", "chance"]),
    ("store", &["domain", "secrets"]),
    ("actions", &["domain", "chance", "secrets", "store"]),
    ("verify", &["domain", "clock", "secrets", "store"]),
    ("mail", &["domain"]),
    ("web", &["mail", "domain", "clock", "chance", "config", "secrets", "store", "actions", "verify", "app"]),
    ("api", &["domain", "clock", "chance", "config", "secrets", "store", "actions", "verify", "web", "app"]),
    ("jobs", &["domain", "clock", "chance", "secrets", "store", "actions", "verify", "mail"]),
    ("app", &["domain", "clock", "chance", "config", "secrets", "store", "actions", "verify", "web", "api", "jobs", "mail"]),
    ("cli", &["app", "mail", "jobs", "domain", "clock", "chance", "config", "secrets", "store", "actions", "verify"]),
    ("main", &["cli"]),
];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, into: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                into.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join("src"), &mut found);
    found.sort();
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// `domain` for `src/domain/key.rs`, `clock` for `src/clock.rs`.
fn part_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The code without comments, so that a link in a docstring is no use.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The parts that a file names after `crate::`, or after `use crate::{`.
fn used_by(text: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut used = BTreeSet::new();
    for (at, _) in text.match_indices("crate::").chain(text.match_indices("keyward::")) {
        let rest = text[at..].split_once("::").unwrap().1;
        if !rest.starts_with('{') {
            used.insert(word(rest));
            continue;
        }
        let mut depth = 0;
        let mut at_name = true;
        for (i, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => at_name = true,
                c if depth == 1 && at_name && c.is_alphabetic() => {
                    used.insert(word(&rest[i..]));
                    at_name = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    used
}

#[test]
fn every_part_uses_only_what_the_map_allows() {
    let arrows: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let part = part_of(&path);
        if part == "lib" {
            continue;
        }
        let Some(allowed) = arrows.get(part.as_str()) else {
            wrong.push(format!("{} is in no part of the map", path.display()));
            continue;
        };
        for used in used_by(&code(&text)) {
            // Lower case names a part; a macro or a type re-exported at the root has none.
            if used != part && arrows.contains_key(used.as_str()) && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{} uses {used}", path.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

fn only_in(needle: &str, allowed: &[&str]) {
    let outside: Vec<_> = sources()
        .into_iter()
        .filter(|(path, text)| code(text).contains(needle) && !allowed.iter().any(|place| path.strip_prefix(root()).unwrap().starts_with(place)))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(outside, Vec::<PathBuf>::new(), "{needle} stands outside of {allowed:?}");
}

#[test]
fn only_the_store_makes_a_tenant_id_or_a_reach() {
    only_in("TenantId::from_row", &["src/store"]);
    only_in("Reach {", &["src/store"]);
}

#[test]
fn only_the_store_knows_diesel() {
    only_in("diesel::", &["src/store"]);
}

#[test]
fn only_the_clock_reads_the_time_and_only_chance_draws_it() {
    only_in("Utc::now", &["src/clock.rs"]);
    only_in("SystemTime::now", &["src/clock.rs"]);
    only_in("getrandom::", &["src/chance.rs"]);
}

#[test]
fn only_the_check_of_a_code_proves_one() {
    only_in("CodeProof::given", &["src/actions"]);
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |database: &str| {
        let mut names: Vec<_> = fs::read_dir(root().join("migrations").join(database)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let names_here = names("sqlite");
    assert_eq!(names_here, names("postgres"));
    // Of two with one number the second would never run.
    let numbers: std::collections::BTreeSet<_> = names_here.iter().map(|name| name.to_string_lossy().split('_').next().unwrap().to_owned()).collect();
    assert_eq!(numbers.len(), names_here.len());
}
