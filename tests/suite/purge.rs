//! What is kept long enough goes, and nobody can take more away unseen.

use chrono::Duration;
use diesel::RunQueryDsl as _;
use keyward::{
    domain::time::days,
    store::{
        Address,
        events::{self, ChainFault},
        grid, keys, tenants,
        usage::{self, HourCount},
    },
};

use crate::support::TestApp;

fn check(app: &TestApp) -> Result<i64, ChainFault> {
    let acme = app.fixture.tenants["acme"].number();
    app.read(|db| events::verify(db, &app.app.secrets, acme))
}

fn tamper(app: &TestApp, statement: &str) {
    let mut conn = Address::parse(&app.app.config.database_url).unwrap().connect().unwrap();
    diesel::sql_query(statement).execute(&mut conn).unwrap();
}

both! {
    fn events_go_after_400_days_and_leave_a_sealed_checkpoint(app) {
        let (acme, key) = (app.fixture.tenants["acme"], app.fixture.key("dora").id);
        let dora = app.signed_in("dora");
        dora.submit(&format!("/t/acme/keys/{key}/disable"), &[]);
        let all = check(app).unwrap();
        // The fixture's events are 60 days old at the start.
        app.advance(days(339));
        app.app.timetable.round().unwrap();
        assert_eq!(check(app), Ok(all), "none is old enough");
        app.advance(days(2));
        app.app.timetable.round().unwrap();
        let left: Vec<&str> = app.read(|db| events::of_key(db, acme, key, 100)).iter().map(|event| event.action.word()).collect();
        assert_eq!(left, ["key.disable"], "what was done on the first day stays");
        assert_eq!(check(app), Ok(all + 1), "the chain is whole, with the event of the purge");
        app.app.timetable.round().unwrap();
        assert_eq!(check(app), Ok(all + 1), "once a day");
        // Somebody with the database but without the secret file takes one more away.
        let id = acme.number();
        let next = "(SELECT purged_to + 1 FROM event_chains WHERE tenant_id = {id})".replace("{id}", &id.to_string());
        tamper(app, &format!("UPDATE event_chains SET purged_head = (SELECT hash FROM events WHERE tenant_id = {id} AND number = {next}), purged_to = purged_to + 1 WHERE tenant_id = {id}"));
        tamper(app, &format!("DELETE FROM events WHERE tenant_id = {id} AND number <= (SELECT purged_to FROM event_chains WHERE tenant_id = {id})"));
        assert!(matches!(check(app), Err(ChainFault::Checkpoint(_))), "{:?}", check(app));
    }

    fn counters_go_after_400_days_where_the_tenant_says_nothing_else(app) {
        let (acme, key, now) = (app.fixture.tenants["acme"], app.fixture.key("dora").id, app.now());
        let hours: Vec<HourCount> = (0..24)
            .map(|n| HourCount { tenant: acme, key, hour: (now - Duration::hours(n)).timestamp() / 3600, accepted: 1, refused: 0 })
            .collect();
        app.write(|tx| usage::insert_many(tx, &hours));
        // The oldest is then 399 days and 23 hours old.
        app.advance(days(399));
        app.app.timetable.round().unwrap();
        assert_eq!(app.read(|db| keys::usage_since(db, acme, key, now - days(10))).len(), 24);
        app.advance(days(2));
        app.app.timetable.round().unwrap();
        assert_eq!(app.read(|db| keys::usage_since(db, acme, key, now - days(10))).len(), 0);
    }

    fn counters_go_after_the_days_that_the_tenant_keeps_them(app) {
        let (acme, key, now) = (app.fixture.tenants["acme"], app.fixture.key("dora").id, app.now());
        let hours: Vec<HourCount> = (0..48)
            .map(|n| HourCount { tenant: acme, key, hour: (now - Duration::hours(n)).timestamp() / 3600, accepted: 1, refused: 0 })
            .collect();
        app.write(|tx| usage::insert_many(tx, &hours));
        app.write(|tx| {
            let tenant = tenants::get(tx, acme)?;
            let mut settings = tenant.settings.clone();
            settings.retention.usage = 30;
            tenants::save_settings(tx, &tenant, &settings)
        });
        app.advance(days(29));
        app.app.timetable.round().unwrap();
        // Hours from before 21 Nov 10:00 are older than 30 days on 21 Dec 10:00, and so are 24 of the 48 a day before.
        assert_eq!(app.read(|db| keys::usage_since(db, acme, key, now - days(10))).len(), 25);
        // Three days are touched by 48 hours; the first has ended more than 30 days ago.
        assert_eq!(app.read(|db| grid::usage(db, acme, &[key], now))[&key].iter().filter(|day| day.accepted > 0).count(), 2);
        app.advance(days(5));
        app.app.timetable.round().unwrap();
        assert_eq!(app.read(|db| keys::usage_since(db, acme, key, now - days(10))).len(), 0);
        assert!(app.read(|db| grid::usage(db, acme, &[key], now)).is_empty());
    }
}
