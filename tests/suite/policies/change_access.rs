//! A key's access role is changed, or the role itself, and a key is locked for a while, at any time after it was made.

use chrono::Duration;
use serde_json::{Value, json};

use super::saves;
use crate::{
    access_pages::{self, verify},
    key_pages::url,
};

both! {
    fn what_a_key_may_do_changes_at_any_time_and_it_can_be_locked_for_a_while(app) {
        let gateway = app.gateway("acme");
        let key = app.fixture.key("dora");
        let scopes = || -> Value { verify(app, &gateway, &key.token)["scopes"].clone() };
        assert_eq!(scopes(), json!(["invoices:read", "shipments:read", "shipments:write"]));
        // Three months after it was made.
        app.advance(Duration::days(30));
        let ada = app.signed_in("ada");
        saves(&ada, "acme", "admins", &["see_all", "manage_all", "delete"], &[]);

        // Another access role for this key: by its owner, and back by an admin.
        let dora = app.signed_in("dora");
        let edit = url(key.id.as_str(), "/edit");
        let billing = access_pages::role(app, "acme", "Billing").to_string();
        let shipping = access_pages::role(app, "acme", "Shipping").to_string();
        assert_eq!(dora.submit(&edit, &[("access", "role"), ("role", &billing)]).status, 303);
        assert_eq!(scopes(), json!(["invoices:read"]));
        assert_eq!(ada.submit(&edit, &[("access", "role"), ("role", &shipping)]).status, 303);
        assert_eq!(scopes(), json!(["shipments:read", "shipments:write"]));

        // The role itself: every key and member that has it changes on its next request.
        let path = format!("{}/{shipping}", access_pages::ROLES);
        let question = ada.submit(&path, &[("scope", "shipments:read")]);
        assert!(question.says("Taken away: shipments:write"), "{}", question.text());
        assert_eq!(ada.send(&question, &path, &[]).status, 303);
        assert_eq!(scopes(), json!(["shipments:read"]));

        // Locked for a while, by its owner or an admin; no clock stops.
        assert_eq!(dora.submit(&url(key.id.as_str(), "/disable"), &[]).status, 303);
        assert_eq!(app.verify(&key.token), "disabled");
        app.advance(Duration::days(3));
        let (dora, ada) = (app.signed_in("dora"), app.signed_in("ada"));
        assert_eq!(dora.submit(&url(key.id.as_str(), "/enable"), &[]).status, 303);
        assert_eq!(app.verify(&key.token), "valid");
        assert_eq!(ada.submit(&url(key.id.as_str(), "/disable"), &[]).status, 303);
        assert_eq!(app.verify(&key.token), "disabled");
        assert_eq!(dora.get(&url(key.id.as_str(), "/enable")).status, 403, "what an admin locked is not the owner’s to open");
        assert!(dora.open(&url(key.id.as_str(), "")).says("Ada Example"), "and they see by whom");
        assert_eq!(ada.submit(&url(key.id.as_str(), "/enable"), &[]).status, 303);
        assert_eq!(scopes(), json!(["shipments:read"]));
        let told = ada.open(&format!("/t/acme/events?key={}", key.id)).texts("tbody tr");
        assert_eq!(told.len(), 7, "created, edited twice, locked and opened twice: {told:?}");
    }
}
