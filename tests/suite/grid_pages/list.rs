//! The list, its filter and columns, and the overview.

use chrono::Duration;
use keyward::store::{
    keys, members,
    usage::{self, HourCount},
};

use super::{add, settings};

both! {
    fn the_grid_shows_filters_and_sorts_without_scripts(app) {
        add(app, "acme/emil", 'A', &["Zoll".into(), "Fracht <b>".into()], |_, _| {});
        add(app, "globex/gus", 'G', &["Zoll of globex".into()], |_, _| {});
        let ada = app.signed_in("ada");
        let page = ada.get("/t/acme/keys");
        assert_eq!(page.status, 200);
        assert_eq!(page.texts("tbody a.name"), ["Fracht <b>", "Zoll", "key of ci", "key of emil", "key of dora"]);
        assert!(page.says("All 5") && page.says("Active 5") && page.says("1–5 of 5"), "{}", page.text());
        for link in page.attributes("a.sort", "href") {
            let sorted = ada.get(&link);
            assert_eq!(sorted.status, 200, "{link}");
            assert_eq!(sorted.attributes("th[aria-sort]", "aria-sort").len(), 1, "{link}");
        }
        let by_name = ada.get("/t/acme/keys?sort=name");
        assert_eq!(by_name.texts("tbody a.name"), ["Fracht <b>", "key of ci", "key of dora", "key of emil", "Zoll"]);
        assert_eq!(ada.get("/t/acme/keys?q=zol").texts("tbody a.name"), ["Zoll"]);
        assert_eq!(ada.get("/t/acme/keys?q=emil&sort=-name").texts("tbody a.name"), ["Zoll", "key of emil", "Fracht <b>"]);
        let none = ada.get("/t/acme/keys?q=globex");
        assert!(none.says("No key matches") && none.says("“globex”") && none.says("All 0"));
        assert_eq!(none.attributes(".empty a.btn", "href"), ["/t/acme/keys"]);
        // What makes no sense is passed over.
        assert_eq!(ada.get("/t/acme/keys?q=&owner=x&access=y&used=z&status=w&sort=v&at=u&more=1").texts("tbody a.name").len(), 5);
    }

    fn the_fragment_for_htmx_carries_grid_tabs_and_what_is_said(app) {
        let ada = app.signed_in("ada");
        let page = ada.get_with("/t/acme/keys?q=dora&owner=&access=&used=", &[("hx-request", "true"), ("hx-target", "grid")]);
        assert_eq!((page.status, page.header("hx-push-url").as_deref()), (200, Some("/t/acme/keys?q=dora")));
        assert!(page.header("vary").unwrap().to_lowercase().contains("hx-request"));
        assert!(page.body.trim_start().starts_with("<form id=\"grid\""), "{}", page.body);
        assert_eq!(page.attributes("nav.tabs", "hx-swap-oob"), ["true"]);
        assert!(page.body.contains("hx-swap-oob=\"innerHTML:#live\"") && page.says("1 key"), "{}", page.text());
        assert!(!page.body.contains("<html"));
    }

    fn who_may_not_read_every_key_is_led_to_their_own(app) {
        let dora = app.signed_in("dora");
        assert_eq!(dora.get("/t/acme/keys").location().as_deref(), Some("/profile?tenant=acme"));
        assert_eq!(dora.get("/t/acme").location().as_deref(), Some("/profile?tenant=acme"));
        assert_eq!(app.signed_in("gus").get("/t/acme/keys").status, 404);
        let page = app.signed_in("audrey").get("/t/acme/keys");
        assert_eq!(page.status, 200);
        let offered = page.texts("main a, main button");
        assert!(offered.contains(&"View details".into()), "{offered:?}");
        for verb in ["Roll", "Revoke", "Disable", "Create key", "Delete", "Renew", "Edit", "Enable", "Finish", "Hand over"] {
            assert!(!offered.iter().any(|words| words.trim_end_matches('…') == verb), "an auditor is offered {verb}");
        }
    }

    fn columns_are_remembered_for_the_member_alone(app) {
        let ada = app.signed_in("ada");
        let page = ada.get("/t/acme/keys?q=key");
        let shown = page.texts("thead th");
        assert!(shown.contains(&"Comment".into()) && !shown.contains(&"Resources".into()));
        let answer = ada.post("/t/acme/keys", &[("col", "status"), ("col", "resources"), ("col", "changed"), ("back", "?q=key")]);
        assert_eq!(answer.location().as_deref(), Some("/t/acme/keys?q=key"));
        let shown = ada.get("/t/acme/keys").texts("thead th");
        assert!(shown.contains(&"Resources".into()) && shown.contains(&"Last changed".into()) && !shown.contains(&"Comment".into()));
        assert!(app.signed_in("audrey").get("/t/acme/keys").texts("thead th").contains(&"Comment".into()));
        ada.post("/t/acme/keys", &[("reset", "1")]);
        assert!(ada.get("/t/acme/keys").texts("thead th").contains(&"Comment".into()));
    }

    fn a_tenant_without_keys_and_one_with_keys_turned_off_say_so(app) {
        settings(app, |settings| {
            settings.keys_enabled = false;
            settings.admins_manage_all = true;
        });
        let ada = app.signed_in("ada");
        let page = ada.get("/t/acme/keys");
        assert!(page.says("API keys are turned off for Acme.") && page.says("Keys are off"));
        assert!(page.attributes("a[data-create]", "href").is_empty());
        assert_eq!(ada.get("/t/acme/keys/enable?all=1").status, 403);
        let account = app.person("ada").account;
        for id in ["dora", "emil", "ci"].map(|name| app.fixture.key(name).id) {
            app.write(|tx| {
                let acting = members::acting(tx, "acme", account)?.unwrap();
                let key = keys::find(tx, &acting.reach(), id)?.unwrap();
                let owner = members::find(tx, acting.tenant.id, key.owner)?.unwrap();
                keys::delete(tx, &key, &owner)
            });
        }
        assert!(ada.get("/t/acme/keys").says("No API keys yet"));
    }

    fn the_overview_counts_and_leads_to_the_tabs(app) {
        let soon = app.now() + Duration::hours(3 * 24 + 1);
        add(app, "acme/emil", 'A', &["Soon gone".into(), "Gone".into()], |at, key| {
            if at == 0 { key.life.expires_at = Some(soon) } else { key.life.revoked_at = Some(key.created_at) }
        });
        let ada = app.signed_in("ada");
        let page = ada.get("/t/acme");
        assert!(page.says("5 keys") && page.says("Soon gone") && page.says("3 days left"), "{}", page.text());
        for link in page.attributes(".statkey a", "href") {
            assert_eq!(ada.get(&link).status, 200);
        }
        assert!(ada.get("/t/acme/keys?status=expiring").says("Soon gone"));
    }

    fn thirty_days_of_use_are_the_same_in_the_grid_on_the_key_page_and_in_the_question(app) {
        let (tenant, key) = (app.fixture.tenants["acme"], app.fixture.key("dora").id);
        let at = |text: &str| chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap().and_utc().timestamp() / 3600;
        // Today is 21 Nov, so the first of the thirty days is 23 Oct.
        let hours = [("2026-11-21 00:00", 30, 2), ("2026-11-21 09:00", 5, 0), ("2026-10-23 00:00", 700, 0), ("2026-10-22 23:00", 9000, 9)];
        let hours = hours.map(|(hour, accepted, refused)| HourCount { tenant, key, hour: at(hour), accepted, refused });
        app.write(|tx| usage::insert_many(tx, &hours[..2]));
        // What comes later to an hour and a day that have counters already.
        app.write(|tx| usage::count_many(tx, &hours[1..]));
        let dora = app.signed_in("dora");
        let page = dora.get(&format!("/t/acme/keys/{key}"));
        assert!(page.says("Requests 742 Refused 2 0.3 % Busiest day 700 23 Oct"), "{}", page.text());
        let asked = dora.get(&format!("/t/acme/keys/{key}/revoke"));
        assert!(asked.says("742"), "{}", asked.text());
        let grid = app.signed_in("ada").get("/t/acme/keys");
        assert_eq!(grid.texts(&format!("#row-{key} td small.num.nowrap-s")), ["742 · 2 refused"]);
        let csv = app.signed_in("ada").get("/t/acme/keys.csv").body;
        assert!(csv.lines().any(|line| line.contains(&key.to_string()) && line.contains(",740,2,")), "{csv}");
    }

    fn pages_go_forth_and_back(app) {
        add(app, "acme/emil", 'F', &crate::grid_pages::numbered("page", 120), |_, _| {});
        let ada = app.signed_in("ada");
        let first = ada.get("/t/acme/keys?q=page&sort=name");
        assert!(first.says("1–50 of 120"));
        let second = ada.get(&first.attributes("#next", "href")[0]);
        let third = ada.get(&second.attributes("#next", "href")[0]);
        assert!(second.says("51–100 of 120") && third.says("101–120 of 120"));
        assert!(third.attributes("#next", "href").is_empty());
        let back = ada.get(&third.attributes("#previous", "href")[0]);
        assert_eq!(back.texts("tbody a.name"), second.texts("tbody a.name"));
        let start = ada.get(&back.attributes("#previous", "href")[0]);
        assert_eq!(start.texts("tbody a.name"), first.texts("tbody a.name"));
        assert!(start.attributes("#previous", "href").is_empty());
    }
}
