//! A link to set a new password is asked for: the request outlives the process that answered it, and leads to one mail.

use std::sync::{Arc, Barrier};

use chrono::Duration;
use keyward::{
    app::App,
    domain::{mail::Mail, time::days},
    store::{
        outbox::{self, Row},
        reset_requests::{self, Asked},
    },
};

use crate::support::TestApp;

/// Another process on the same database.
fn another(app: &TestApp) -> App {
    App::open(app.app.config.clone(), app.app.clock.clone()).unwrap()
}

fn written(app: &TestApp) -> Vec<Row> {
    let mut rows = app.read(|db| outbox::list(db, app.fixture.tenants["acme"], None, None, 1000));
    rows.retain(|row| matches!(row.mail, Mail::PasswordReset { .. }));
    rows.reverse();
    rows
}

fn forget(app: &TestApp, email: &str) -> u16 {
    app.browser().submit("/password/forgot", &[("email", email)]).status
}

/// Takes away what waits.
fn waiting(app: &TestApp) -> Vec<Asked> {
    let mut all = Vec::new();
    while let Some(id) = app.read(|db| reset_requests::next(db, 0)) {
        all.push(app.write(|tx| reset_requests::take(tx, id)).unwrap().0);
    }
    all
}

both! {
    fn a_request_that_was_answered_before_the_process_died_leads_to_its_mail(app) {
        let dora = app.person("dora").email.as_str();
        assert_eq!(forget(app, dora), 200);
        assert_eq!(written(app).len(), 0, "the answer does not wait for it");
        // The process that answered does nothing any more. The next one starts after an hour and a half.
        app.advance(Duration::minutes(90));
        let next = another(app);
        next.resets.round().unwrap();
        let rows = written(app);
        assert_eq!(rows.iter().map(|row| row.to.address.as_str()).collect::<Vec<_>>(), [dora]);
        assert_eq!(rows[0].mail, Mail::PasswordReset { until: app.now() + Duration::hours(1) }, "its link lives from now on");
        next.resets.round().unwrap();
        app.app.resets.round().unwrap();
        assert_eq!(written(app).len(), 1);
        assert_eq!(waiting(app), []);
    }

    fn what_waits_is_the_same_for_an_address_without_an_account(app) {
        let dora = app.person("dora").email.as_str();
        assert_eq!((forget(app, dora), forget(app, "Nobody@Acme.example")), (200, 200));
        let all = waiting(app);
        assert_eq!(all.iter().map(|asked| asked.email.as_str()).collect::<Vec<_>>(), [dora, "nobody@acme.example"]);
        assert_eq!((&all[0].address, &all[0].user_agent), (&all[1].address, &all[1].user_agent));
        assert_eq!(forget(app, "nobody@acme.example"), 200);
        app.app.resets.round().unwrap();
        assert_eq!((waiting(app), written(app).len()), (vec![], 0));
    }

    fn a_request_that_nobody_dealt_with_for_a_day_is_dropped(app) {
        assert_eq!(forget(app, &app.person("dora").email), 200);
        app.advance(Duration::minutes(1));
        assert_eq!(forget(app, &app.person("emil").email), 200);
        app.advance(days(1));
        app.app.resets.round().unwrap();
        assert_eq!(written(app).iter().map(|row| row.to.address.as_str()).collect::<Vec<_>>(), [app.person("emil").email.as_str()]);
        assert_eq!(waiting(app), []);
    }

    fn only_so_many_wait_whoever_asks(app) {
        let nobody = Asked { email: "nobody@acme.example".into(), address: String::new(), user_agent: String::new() };
        app.write(|tx| {
            for _ in 0..199 {
                assert!(reset_requests::add(tx, &nobody)?);
            }
            Ok(())
        });
        let dora = app.person("dora").email.as_str();
        assert_eq!([forget(app, dora), forget(app, dora), forget(app, "nobody@acme.example")], [200, 503, 503]);
        app.app.resets.round().unwrap();
        assert_eq!(written(app).len(), 1);
        assert_eq!([forget(app, dora), forget(app, "nobody@acme.example")], [200, 200]);
    }

    fn several_processes_write_one_mail_for_each_request(app) {
        let people = ["ada", "dora", "emil", "audrey", "nora"];
        let processes: Vec<App> = (0..4).map(|_| another(app)).collect();
        for round in 1..=3 {
            for name in people {
                assert_eq!(forget(app, &app.person(name).email), 200);
            }
            let together = Arc::new(Barrier::new(processes.len()));
            std::thread::scope(|scope| {
                for process in &processes {
                    let together = Arc::clone(&together);
                    scope.spawn(move || {
                        together.wait();
                        process.resets.round().unwrap();
                    });
                }
            });
            for name in people {
                let count = written(app).iter().filter(|row| row.to.address == app.person(name).email).count();
                assert_eq!(count, round, "{name}");
            }
            app.advance(Duration::minutes(1));
        }
        assert_eq!(waiting(app), []);
    }
}
