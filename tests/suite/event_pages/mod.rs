//! The Events page: found, filtered, paged and exported, by whoever may see them.

use keyward::{
    domain::{
        event::{Action, Event, EventActor},
        ids::KeyId,
    },
    store::{events, tenants},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    key_pages::{create, set, token_of, url},
    support::{
        Backend, TestApp,
        browser::{Browser, Page},
    },
};

const EVENTS: &str = "/t/acme/events";

/// What each row says, without its time.
fn rows(page: &Page) -> Vec<String> {
    assert_eq!(page.status, 200, "{}", page.text());
    page.texts("tbody tr").into_iter().map(|row| row.split(", ").skip(1).collect::<Vec<_>>().join(", ").chars().skip(9).collect()).collect()
}

fn numbers(page: &Page) -> Vec<String> {
    page.attributes("tbody tr", "id")
}

fn lines(page: &Page) -> Vec<Value> {
    page.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Adds made-up events to acme, a second apart, the oldest first.
fn adds(app: &TestApp, count: usize, change: impl Fn(usize, &mut Event)) {
    let acme = app.fixture.tenants["acme"];
    app.write(|tx| {
        let now = tx.now();
        for n in 0..count {
            let mut event = Event {
                at: now + chrono::Duration::seconds(i64::try_from(n).unwrap()),
                actor: EventActor { kind: "system".into(), id: String::new(), name: "Keyward".into() },
                action: Action::SettingsChanged,
                target_kind: "tenant".into(),
                target_id: "acme".into(),
                target_name: "Acme".into(),
                ip: String::new(),
                user_agent: String::new(),
                details: json!({}),
            };
            change(n, &mut event);
            events::add(tx, acme, &event)?;
        }
        Ok(())
    });
}

fn disables(browser: &Browser, id: &KeyId) {
    assert_eq!(browser.submit(&url(id.as_str(), "/disable"), &[]).status, 303);
}

both! {
    fn what_was_done_is_listed_with_who_and_where_and_opens_with_what_changed(app) {
        let emil = app.signed_in("emil");
        let id = app.fixture.key("emil").id;
        let path = url(id.as_str(), "/edit");
        assert_eq!(emil.submit(&path, &[("name", "renamed by emil")]).status, 303);
        let ada = app.signed_in("ada");
        let page = ada.open(EVENTS);
        let newest = rows(&page);
        assert!(newest[0].starts_with("Signed in") && newest[0].contains("Ada Example"), "{newest:?}");
        assert!(newest[1].contains("Edited the key") && newest[1].contains("Emil Example") && newest[1].contains("127.0.0.1"), "{newest:?}");
        let link = page.attributes("tbody tr:nth-child(2) .e-more a", "href").remove(0);
        let one = ada.open(&link);
        assert!(one.says("key.edit") && one.says("renamed by emil") && one.says("key of emil"), "{}", one.text());
        let dialog = ada.get_with(&link, &[("hx-request", "true")]);
        assert!(dialog.body.trim_start().starts_with("<div class=\"dialog-h\">"), "{}", dialog.body);
        assert_eq!(ada.get(&format!("{EVENTS}/999999")).status, 404);
    }

    fn the_filter_finds_by_key_member_action_and_day(app) {
        let ada = app.signed_in("ada");
        let (dora, emil) = (app.fixture.key("dora").id, app.fixture.key("emil").id);
        disables(&ada, &dora);
        disables(&ada, &emil);
        let found = |query: &str| rows(&ada.open(&format!("{EVENTS}?{query}")));
        assert_eq!(found(&format!("key={emil}")).len(), 2, "disabled and created");
        assert_eq!(found(&format!("key={emil}&key={dora}")).len(), 4, "one or many");
        assert_eq!(found(&format!("key={emil}&key={dora}&action=key.disable")).len(), 2);
        assert_eq!(found("find=key+of+emil").len(), 2, "by name");
        assert_eq!(ada.open(&format!("{EVENTS}?find=key+of+emil")).attributes("#find", "value"), ["key of emil"], "which stays to be read");
        assert_eq!(found(&format!("find={emil}")).len(), 2, "by ID");
        assert_eq!(found("action=key.disable").len(), 2);
        assert!(found("action=account").iter().all(|row| row.contains("Signed in")));
        let member = app.fixture.members["acme/ada"];
        assert_eq!(found(&format!("member={member}&action=key")).len(), 2);
        assert_eq!(found("from=2026-11-21&action=key").len(), 2);
        assert_eq!(found("to=2026-11-20&action=key").len(), 3, "those of 60 days ago");
        assert_eq!(found("from=2026-11-22").len(), 0);
        let wrong = ada.get(&format!("{EVENTS}?from=yesterday&to=2026-11-20"));
        assert_eq!(wrong.status, 422);
        assert!(wrong.find("#from-e").is_some() && wrong.body.contains("value=\"yesterday\"") && wrong.body.contains("value=\"2026-11-20\""));
        assert_eq!(ada.get(&format!("{EVENTS}.csv?from=yesterday")).status, 400);
        // A page says nothing for keys that are none.
        assert_eq!(found("key=0000000000000000").len(), 0);
    }

    fn search_in_logs_leads_here_from_the_grid_for_one_key_for_many_and_for_all_that_match(app) {
        let ada = app.signed_in("ada");
        let grid = ada.open("/t/acme/keys");
        let emil = app.fixture.key("emil").id;
        let one = format!("{EVENTS}?key={emil}");
        assert!(grid.attributes("a", "href").contains(&one), "{}", grid.body);
        assert_eq!(ada.open(&one).texts(".chip"), ["key of emil"]);
        // The button of the selection sends the grid's own form.
        assert!(grid.attributes("button[formaction]", "formaction").contains(&EVENTS.to_owned()));
        let two = ada.open(&format!("{EVENTS}?key={emil}&key={}&csrf=x&sort=-created", app.fixture.key("dora").id));
        assert_eq!(two.texts(".chip"), ["key of emil", "key of dora"]);
        assert_eq!(rows(&two).len(), 2);
        let fewer = two.attributes(".chip a", "href").remove(0);
        assert_eq!(ada.open(&fewer).texts(".chip"), ["key of dora"]);
        let all = ada.open(&format!("{EVENTS}?key={emil}&all=1&q=key+of&status=active"));
        assert_eq!(rows(&all).len(), 3, "the three keys of acme were created");
        assert!(all.says("3 that match"));
    }

    fn everybody_sees_the_events_of_their_own_keys_and_only_who_may_the_rest(app) {
        let ada = app.signed_in("ada");
        let (dora, emil) = (app.fixture.key("dora").id, app.fixture.key("emil").id);
        disables(&ada, &emil);
        disables(&ada, &dora);
        assert_eq!(rows(&app.signed_in("emil").open(EVENTS)).len(), 2, "his own key's");
        let page = app.signed_in("dora").open(EVENTS);
        assert!(rows(&page).iter().all(|row| row.contains("key of dora") || row.contains("key of ci")), "{}", page.text());
        assert_eq!(rows(&page).len(), 3, "hers and those of the service account that she keeps");
        assert!(page.find("#member").is_none());
        let nora = app.signed_in("nora").open(EVENTS);
        assert!(nora.says("No events yet"));
        let audrey = rows(&app.signed_in("audrey").open(EVENTS));
        assert!(audrey.iter().any(|row| row.contains("Disabled the key")) && audrey.iter().any(|row| row.contains("Signed in")));
        // Another's key, or another event: as if it were not there.
        let number = |name: &str| app.read(|db| events::of_key(db, app.fixture.tenants["acme"], app.fixture.key(name).id, 10)).len();
        assert_eq!(number("dora"), 2);
        let newest = ada.open(EVENTS).attributes("tbody tr:first-child .e-more a", "href").remove(0);
        assert_eq!(app.signed_in("emil").get(&newest).status, 404);
        assert_eq!(rows(&app.signed_in("emil").open(&format!("{EVENTS}?key={dora}"))).len(), 0);
        assert_eq!(app.signed_in("gus").get(EVENTS).status, 404);
        assert_eq!(app.signed_in("root").get(EVENTS).status, 404);
        // Admins who may not see all keys still see the rest.
        set(app, |settings| (settings.admins_see_all, settings.admins_manage_all) = (false, false));
        let seen = rows(&ada.open(EVENTS));
        assert!(!seen.is_empty() && !seen.iter().any(|row| row.contains("the key")), "{seen:?}");
        assert_eq!(rows(&ada.open(&format!("{EVENTS}?key={dora}"))).len(), 0);
    }

    fn the_events_of_a_deleted_key_stay(app) {
        let emil = app.signed_in("emil");
        let id = app.fixture.key("emil").id;
        assert_eq!(emil.submit(&url(id.as_str(), "/delete"), &[("confirm", "delete")]).status, 303);
        let page = emil.open(&format!("{EVENTS}?key={id}"));
        let seen = rows(&page);
        assert!(seen.len() == 3 && seen[0].contains("Deleted the key key of emil"), "{seen:?}");
        assert!(page.attributes(".e-key a", "href").is_empty(), "no link to a page that is gone");
    }

    fn pages_walk_forth_and_back_over_everything_once_whatever_is_added(app) {
        adds(app, 130, |n, event| event.target_name = format!("row {n}"));
        let ada = app.signed_in("ada");
        let mut path = format!("{EVENTS}?action=tenant.settings");
        let mut pages = Vec::new();
        loop {
            let page = ada.open(&path);
            pages.push(numbers(&page));
            adds(app, 1, |_, event| event.at = app.now() + chrono::Duration::days(1));
            match page.attributes("a[rel=next]", "href").into_iter().next() {
                Some(next) => path = next,
                None => break,
            }
        }
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [50, 50, 30]);
        let all: Vec<_> = pages.iter().flatten().collect();
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 130);
        let back = ada.open(&ada.open(&path).attributes("a[rel=prev]", "href").remove(0));
        assert_eq!(numbers(&back), pages[1]);
    }

    fn the_export_as_json_lines_proves_itself_by_the_head_that_is_printed_with_it(app) {
        let ada = app.signed_in("ada");
        disables(&ada, &app.fixture.key("emil").id);
        let answer = ada.get(&format!("{EVENTS}.jsonl"));
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-disposition").unwrap().contains("events-acme-2026-11-21.jsonl"));
        let mut all = lines(&answer);
        let head = all.pop().unwrap()["sealed_head"].clone();
        assert_eq!(head["count"], json!(all.len()));
        all.reverse();
        // Worked out from the text alone, as a reader of the file would.
        let mut before = vec![0u8; 32];
        for (n, line) in all.iter().enumerate() {
            assert_eq!(line["number"], json!(n + 1));
            let at: chrono::DateTime<chrono::Utc> = line["time"].as_str().unwrap().parse().unwrap();
            let mut hash = Sha256::new();
            hash.update(&before);
            hash.update((i64::try_from(n).unwrap() + 1).to_be_bytes());
            hash.update(at.timestamp_micros().to_be_bytes());
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let parts = [
                text(&line["actor"]["kind"]), text(&line["actor"]["id"]), text(&line["actor"]["name"]), text(&line["action"]),
                text(&line["target"]["kind"]), text(&line["target"]["id"]), text(&line["target"]["name"]), text(&line["ip"]),
                text(&line["user_agent"]), line["details"].to_string(),
            ];
            for part in parts {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part.as_bytes());
            }
            before = hash.finalize().to_vec();
            let hex: String = before.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(line["hash"], json!(hex), "event {}", n + 1);
        }
        let seal = app.app.secrets.seal(app.fixture.tenants["acme"].number(), i64::try_from(all.len()).unwrap(), &before);
        let hex: String = seal.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(head["seal"], json!(hex));
    }

    fn no_cell_of_the_export_as_csv_can_start_a_formula(app) {
        for name in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", " =2", "plain, \"quoted\"\r\nand broken"] {
            adds(app, 1, |_, event| {
                event.target_name = name.to_owned();
                event.actor.name = name.to_owned();
                event.user_agent = name.to_owned();
            });
        }
        let ada = app.signed_in("ada");
        let answer = ada.get(&format!("{EVENTS}.csv?action=tenant.settings"));
        let mut reader = csv::Reader::from_reader(answer.body.as_bytes());
        let all: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(all.len(), 8);
        for cell in all.iter().flatten() {
            assert!(!cell.trim_start().starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell:?}");
        }
        assert!(all[0].get(8).unwrap().starts_with("plain, \"quoted\""));
        assert_eq!(all[7].get(0), Some("sealed_head"));
        let head: Value = serde_json::from_str(all[7].get(11).unwrap()).unwrap();
        let acme = app.fixture.tenants["acme"].number();
        assert_eq!(head["count"], json!(app.read(|db| events::verify(db, &app.app.secrets, acme)).unwrap()));
    }

    fn the_export_has_every_page_of_what_matches_and_no_token(app) {
        adds(app, 2_300, |_, _| {});
        let dora = app.signed_in("dora");
        let (token, id) = token_of(&create(&dora, &[("name", "secret one")]));
        let ada = app.signed_in("ada");
        let all = lines(&ada.get(&format!("{EVENTS}.jsonl?action=tenant.settings")));
        assert_eq!(all.len(), 2_301);
        let whole = ada.get(&format!("{EVENTS}.jsonl"));
        assert!(whole.body.contains(&id) && !whole.body.contains(&token[21..50]));
        let own = lines(&dora.get(&format!("{EVENTS}.jsonl")));
        assert_eq!(own.len(), 4, "dora’s: three events of her keys and the head");
    }

    fn a_suspended_tenants_admins_still_read_and_export_them(app) {
        let ada = app.signed_in("ada");
        let acme = app.fixture.tenants["acme"];
        app.write(|tx| tenants::set_suspended(tx, acme, true));
        assert!(!rows(&ada.open(EVENTS)).is_empty());
        assert_eq!(ada.get(&format!("{EVENTS}.csv")).status, 200);
    }

    #[ignore = "fills a million rows; run by hand"]
    fn a_million_events_stay_quick(app) {
        let acme = app.fixture.tenants["acme"].number();
        let (emil, dora) = (app.fixture.key("emil").id, app.fixture.members["acme/dora"]);
        let row = "'system', '', 'Keyward', CASE WHEN n % 1000 = 7 THEN 'key.revoke' ELSE 'key.edit' END, 'key', CASE WHEN n % 50000 = 3 THEN";
        let row = format!("{row} '{emil}' ELSE 'k' || (n % 90000) END, 'name ' || n, '', '', '{{}}'");
        app.sql(&match app.backend {
            Backend::Sqlite => format!("WITH RECURSIVE c(n) AS (SELECT 1000 UNION ALL SELECT n + 1 FROM c WHERE n < 1001000) INSERT INTO events SELECT {acme}, n, 1700000000000000 + n * 1000000, {row}, zeroblob(32) FROM c"),
            Backend::Postgres => format!("INSERT INTO events SELECT {acme}, n, 1700000000000000 + n * 1000000, {row}, decode('00', 'hex') FROM generate_series(1000::bigint, 1001000) n"),
        });
        app.sql("ANALYZE events");
        let ada = app.signed_in("ada");
        for query in [
            String::new(), format!("?key={emil}"), "?action=key.revoke".into(), "?action=gateway.roll".into(), format!("?member={dora}"),
            "?action=key".into(), "?from=2023-11-20&to=2023-11-20".into(), "?from=2023-11-16&to=2023-11-18&action=key.revoke".into(), format!("?member={dora}&action=key.edit"), "?find=key+of".into(), "?at=n2000".into(),
        ] {
            let path = format!("{EVENTS}{query}");
            ada.open(&path);
            let begun = std::time::Instant::now();
            let page = ada.open(&path);
            println!("{:?} {query}: {} rows in {:?}", app.backend, page.texts("tbody tr").len(), begun.elapsed());
        }
    }
}
