//! The outbox itself, on both databases.

use chrono::Duration;
use keyward::{
    domain::{
        ids::KeyId,
        mail::{Mail, Role},
    },
    store::outbox::{self, NewMail, NewNotice, Outcome, State, To},
};

use crate::support::TestApp;

fn to(address: &str) -> To {
    To { address: address.into(), name: "Dora Example".into() }
}

fn write(app: &TestApp, once: &str) -> bool {
    let mail = Mail::PasswordReset { until: app.now() + Duration::hours(1) };
    let tenant = Some(app.fixture.tenants["acme"]);
    app.write(|tx| outbox::add(tx, &NewMail { tenant, account: None, to: &to("dora@example.com"), mail: &mail, once })).is_some()
}

fn line(app: &TestApp, owner: &str, stage: &str) -> NewNotice {
    NewNotice { key: app.fixture.key(owner).id, stage: stage.into(), expires_at: app.now() + Duration::days(7), role: Role::Owner }
}

fn take(app: &TestApp, sender: &str) -> Vec<outbox::Row> {
    app.write(|tx| outbox::take(tx, sender, 10))
}

both! {
    fn one_cause_is_written_once_and_taken_by_one_sender(app) {
        assert!(write(app, "a") && !write(app, "a") && write(app, "b"));
        assert_eq!(take(app, "one").len(), 2);
        assert_eq!(take(app, "two").len(), 0);
    }

    fn a_mail_whose_sender_died_is_taken_again_and_the_late_one_changes_nothing(app) {
        write(app, "a");
        let taken = take(app, "one").remove(0);
        app.advance(outbox::LEASE);
        assert_eq!(take(app, "two")[0].id, taken.id);
        assert!(!app.write(|tx| outbox::settle(tx, taken.id, "one", &Outcome::Sent, "250")));
        assert!(app.write(|tx| outbox::settle(tx, taken.id, "two", &Outcome::Sent, "250 queued")));
        let row = app.read(|db| outbox::find(db, app.fixture.tenants["acme"], taken.id)).unwrap();
        assert_eq!((row.state(), row.tries, row.said.as_str()), (State::Sent, 1, "250 queued"));
        assert_eq!(app.read(|db| outbox::find(db, app.fixture.tenants["globex"], taken.id)), None);
        app.advance(Duration::days(3));
        assert_eq!(take(app, "two").len(), 0);
    }

    fn what_a_sender_gives_back_untried_is_free_for_others_at_once(app) {
        write(app, "a");
        let (acme, taken) = (app.fixture.tenants["acme"], take(app, "one").remove(0));
        assert_eq!(take(app, "two").len(), 0);
        assert!(app.write(|tx| outbox::settle(tx, taken.id, "one", &Outcome::Later(tx.now()), "451 said before")));
        let row = app.read(|db| outbox::find(db, acme, taken.id)).unwrap();
        assert_eq!((row.state(), row.tries, row.next_at, row.said.as_str()), (State::Waiting, 0, Some(app.now()), "451 said before"));
        assert!(!app.write(|tx| outbox::settle(tx, taken.id, "one", &Outcome::Sent, "250")), "it is theirs no more");
        assert_eq!(take(app, "two")[0].id, taken.id);
        // Until a moment: nobody has it before.
        assert!(app.write(|tx| outbox::settle(tx, taken.id, "two", &Outcome::Later(tx.now() + Duration::hours(1)), "")));
        app.advance(Duration::minutes(59));
        assert_eq!(take(app, "three").len(), 0);
        app.advance(Duration::minutes(1));
        assert_eq!(take(app, "three")[0].id, taken.id);
    }

    fn what_failed_can_be_sent_again(app) {
        write(app, "a");
        let acme = app.fixture.tenants["acme"];
        let id = take(app, "one")[0].id;
        assert!(!app.write(|tx| outbox::send_again(tx, acme, id)), "it has not failed yet");
        app.write(|tx| outbox::settle(tx, id, "one", &Outcome::Failed, "550 no such user"));
        assert_eq!(app.read(|db| outbox::failed_since(db, acme, app.now() - Duration::days(1))), 1);
        assert!(!app.write(|tx| outbox::send_again(tx, app.fixture.tenants["globex"], id)));
        assert!(app.write(|tx| outbox::send_again(tx, acme, id)));
        assert_eq!(take(app, "one")[0].id, id);
    }

    fn notices_of_a_day_share_a_digest_and_what_comes_too_late_waits_for_the_next(app) {
        let acme = app.fixture.tenants["acme"];
        let add = |address: &str, lines: &[NewNotice]| app.write(|tx| outbox::add_notices(tx, acme, &to(address), app.now(), lines));
        assert_eq!(add("dora@example.com", &[line(app, "dora", "before_7")]), 1);
        assert_eq!(add("Dora@Example.com", &[line(app, "dora", "before_7"), line(app, "ci", "before_7")]), 1, "one of them was told before");
        assert_eq!(add("emil@example.com", &[line(app, "emil", "before_7")]), 1);
        let taken = take(app, "one");
        assert_eq!(taken.len(), 2);
        assert_eq!(app.read(|db| outbox::notices_of(db, taken[0].id)).len(), 2);
        assert_eq!(add("dora@example.com", &[line(app, "dora", "before_7")]), 0);
        assert_eq!(add("dora@example.com", &[line(app, "dora", "before_1")]), 1);
        app.advance(Duration::hours(19));
        assert_eq!(take(app, "two").iter().filter(|row| !taken.iter().any(|t| t.id == row.id)).count(), 0);
        app.advance(Duration::hours(2));
        let next: Vec<_> = take(app, "three").into_iter().filter(|row| !taken.iter().any(|t| t.id == row.id)).collect();
        assert_eq!(next.len(), 1, "the next day's digest, and none without lines");
        let lines = app.read(|db| outbox::notices_of(db, next[0].id));
        assert_eq!((lines.len(), lines[0].stage.as_str(), lines[0].role), (1, "before_1", Role::Owner));
        let _: KeyId = lines[0].key;
    }

    fn many_senders_at_once_take_each_mail_once(app) {
        for n in 0..60 {
            write(app, &n.to_string());
        }
        let ids = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for sender in 0..4 {
                let ids = &ids;
                scope.spawn(move || {
                    loop {
                        let taken = app.write(|tx| outbox::take(tx, &format!("sender {sender}"), 7));
                        if taken.is_empty() {
                            break;
                        }
                        ids.lock().unwrap().extend(taken.into_iter().map(|row| row.id));
                    }
                });
            }
        });
        let mut ids = ids.into_inner().unwrap();
        let taken = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!((taken, ids.len()), (60, 60));
    }
}
