//! A roll asks for a TOTP code, and the old secret stops at once or on a chosen date.

use chrono::Duration;

use crate::key_pages::{token_of, url};

both! {
    fn a_roll_takes_a_code_and_the_old_secret_stops_when_it_was_told_to(app) {
        let dora = app.signed_in("dora");
        let key = app.fixture.key("dora");
        let roll = url(key.id.as_str(), "/roll");

        // Without a code, with a wrong one, and with a recovery code or an old one, nothing is rolled.
        let used = app.code("dora");
        for totp in ["", "000000", "abcdefgh"] {
            let refused = dora.submit(&roll, &[("stop", "0"), ("totp", totp)]);
            assert_eq!(refused.status, 422, "{totp}");
            assert!(refused.find("#totp-e").is_some(), "{}", refused.text());
        }
        assert_eq!(app.verify(&key.token), "valid");
        // Who has no authenticator is led to setting one up first.
        let emil = app.signed_in("emil");
        let led = emil.open(&url(app.fixture.key("emil").id.as_str(), "/roll"));
        assert!(led.says("authenticator") || led.path.starts_with("/profile/totp"), "{}", led.text());

        // At once.
        let (second, id) = token_of(&dora.submit(&roll, &[("stop", "0"), ("totp", &used)]));
        assert_eq!(id, key.id.to_string(), "the ID stays");
        assert_eq!((app.verify(&key.token), app.verify(&second)), ("rolled".to_owned(), "valid".to_owned()));
        let again = dora.submit(&roll, &[("stop", "0"), ("totp", &used)]);
        assert_eq!(again.status, 422, "a code is good for one roll");

        // On a date: 26 Nov 2026, 09:00 UTC.
        let (third, _) = token_of(&dora.submit(&roll, &[("stop", "at"), ("stop_at", "2026-11-26T09:00"), ("totp", &app.code("dora"))]));
        assert_eq!((app.verify(&second), app.verify(&third)), ("valid_in_grace".to_owned(), "valid".to_owned()));
        assert!(dora.open(&url(&id, "")).says("26 Nov 2026"));
        let moment = chrono::DateTime::parse_from_rfc3339("2026-11-26T09:00:00Z").unwrap().to_utc();
        app.advance(moment - app.now() - Duration::seconds(1));
        assert_eq!(app.verify(&second), "valid_in_grace", "a second before");
        app.advance(Duration::seconds(1));
        assert_eq!((app.verify(&second), app.verify(&third)), ("rolled".to_owned(), "valid".to_owned()));

        // Never later than the tenant's longest overlap, and never in the past.
        let dora = app.signed_in("dora");
        for wrong in ["2027-06-01T09:00", "2026-11-20T09:00", "soon"] {
            let refused = dora.submit(&roll, &[("stop", "at"), ("stop_at", wrong), ("totp", &app.code("dora"))]);
            assert_eq!(refused.status, 422, "{wrong}");
            assert!(refused.find("#stop_at-e").is_some() && refused.body.contains(&format!("value=\"{wrong}\"")), "{wrong}: {}", refused.text());
        }
        assert_eq!(app.verify(&third), "valid");
    }
}
