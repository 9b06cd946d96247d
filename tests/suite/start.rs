//! The server as a whole: it starts, answers, and shares nothing between tests.

both! {
    fn a_page_that_does_not_exist_is_a_404_page(app) {
        let page = app.browser().get("/no/such/page");
        assert_eq!(page.status, 404);
        assert!(page.header("content-type").unwrap().starts_with("text/html"));
    }

    fn a_key_of_the_fixture_is_in_the_database(app) {
        let count = app.read(keyward::store::newest_change);
        assert!(count > 0);
        assert_eq!(app.fixture.key("dora").token.len(), "kwk_".len() + 16 + 1 + 32 + 6);
    }
}
