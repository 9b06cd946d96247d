//! What a form sent, its errors by field, and showing it again with all that was typed.
//!
//! A handler takes a [`Form`], says with [`Form::only`] which fields it knows, reads each with [`Form::parse`], and where
//! [`Form::has_errors`] shows the page again with 422. Templates read it with the macros of `parts/macros.html`.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpMessage as _, HttpRequest, dev::Payload, web::Bytes};

use super::error::WebError;

/// The most fields that one form may have.
const MOST_FIELDS: usize = 2_000;
/// Fields that every form may carry; they are read elsewhere.
const ALWAYS: [&str; 1] = ["csrf"];
/// What was typed there is not sent back.
const SECRET: [&str; 5] = ["password", "new_password", "current_password", "totp", "token"];

/// The fields of a form in the order in which they came, and what is wrong with them.
#[derive(Debug, Clone, Default)]
pub struct Form {
    values: Vec<(String, String)>,
    errors: Vec<(String, String)>,
}

/// The body that the guard has read, for the extractor.
#[derive(Clone)]
pub(super) struct Body(pub Bytes);

impl Form {
    /// A form that shows these values.
    pub fn filled<'a>(values: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        Self { values: values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(), errors: Vec::new() }
    }

    /// Reads the query of an address.
    ///
    /// # Errors
    /// Text that is not UTF-8, too many fields.
    pub fn from_query(req: &HttpRequest) -> Result<Self, WebError> {
        Self::read(req.query_string().as_bytes())
    }

    fn read(bytes: &[u8]) -> Result<Self, WebError> {
        // serde_urlencoded turns what is no UTF-8 into replacement characters; nobody types those.
        let values: Vec<(String, String)> = serde_urlencoded::from_bytes(bytes).map_err(|_| bad("The form could not be read."))?;
        if values.len() > MOST_FIELDS {
            return Err(bad("The form has too many fields."));
        }
        let is_bad = |text: &str| text.contains(['\u{FFFD}', '\0']);
        if values.iter().any(|(name, value)| is_bad(name) || is_bad(value)) {
            return Err(bad("The form has characters that are not UTF-8."));
        }
        Ok(Self { values, errors: Vec::new() })
    }

    /// Refuses fields that the page does not have, and fields sent twice. A name ending in `*` may come several times.
    ///
    /// # Errors
    /// 400 that names the field.
    pub fn only(&mut self, known: &[&str]) -> Result<(), WebError> {
        let mut seen = Vec::new();
        for (name, _) in &self.values {
            if ALWAYS.contains(&name.as_str()) || known.iter().any(|k| k.strip_suffix('*') == Some(name)) {
                continue;
            }
            let shown: String = name.chars().take(40).collect();
            if !known.contains(&name.as_str()) {
                return Err(WebError::BadRequest(format!("This form has no field “{shown}”. Nothing was changed.")));
            }
            if seen.contains(&name.as_str()) {
                return Err(WebError::BadRequest(format!("The field “{shown}” was sent twice. Nothing was changed.")));
            }
            seen.push(name);
        }
        Ok(())
    }

    /// What was sent as `name`; empty where nothing was.
    pub fn text(&self, name: &str) -> &str {
        self.values.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// Everything that was sent as `name`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.values.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Whether `name` was sent at all, as a ticked box is.
    pub fn checked(&self, name: &str) -> bool {
        self.values.iter().any(|(n, _)| n == name)
    }

    /// Whether a picker's search, the field `find_…`, is not what its list was made for, `found_…`: whoever pressed Enter there meant
    /// to search.
    pub fn searches(&self, what: &str) -> bool {
        self.text(&format!("find_{what}")).trim() != self.text(&format!("found_{what}")).trim()
    }

    /// Whether `value` was chosen for `name`; for options, radio buttons and boxes.
    pub fn has(&self, name: &str, value: &str) -> bool {
        self.all(name).any(|v| v == value)
    }

    /// Reads a field; what is wrong is kept for the page.
    pub fn parse<T, E: std::fmt::Display>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        match read(self.text(name)) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.wrong(name, wrong);
                None
            }
        }
    }

    /// Says what is wrong with a field; an empty name means the form as a whole.
    pub fn wrong(&mut self, name: &str, words: impl std::fmt::Display) {
        self.errors.push((name.to_owned(), words.to_string()));
    }

    /// Sets a value, in place of what was sent.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.values.retain(|(n, _)| n != name);
        self.values.push((name.to_owned(), value.into()));
    }

    /// Sets several values of one name, in place of what was sent.
    pub fn set_all(&mut self, name: &str, values: impl IntoIterator<Item = String>) {
        self.values.retain(|(n, _)| n != name);
        self.values.extend(values.into_iter().map(|value| (name.to_owned(), value)));
    }

    /// Whether anything is wrong.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Each field that is wrong, and why.
    pub fn errors(&self) -> &[(String, String)] {
        &self.errors
    }

    /// What is wrong with a field.
    pub fn error_of(&self, name: &str) -> Option<&str> {
        self.errors.iter().find(|(n, _)| n == name).map(|(_, words)| words.as_str())
    }

    /// What to show in a field: what was typed, but no secret.
    pub fn value(&self, name: &str) -> &str {
        if SECRET.contains(&name) { "" } else { self.text(name) }
    }
}

fn bad(words: &str) -> WebError {
    WebError::BadRequest(format!("{words} Nothing was changed."))
}

impl FromRequest for Form {
    type Error = WebError;
    type Future = Ready<Result<Self, WebError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let body = req.extensions().get::<Body>().map(|body| body.0.clone());
        ready(Self::read(&body.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Form {
        Form::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn unknown_and_repeated_fields_are_refused_by_name() {
        let refused = |text: &str| match form(text).only(&["name", "scope*"]) {
            Err(WebError::BadRequest(words)) => words,
            other => panic!("{other:?}"),
        };
        assert!(refused("name=a&owner=2").contains("“owner”"));
        assert!(refused("name=a&name=b").contains("“name” was sent twice"));
        assert!(form("csrf=x&name=a&scope=1&scope=2").only(&["name", "scope*"]).is_ok());
    }

    #[test]
    fn what_was_typed_comes_back_but_secrets_do_not() {
        let mut form = form("name=a%20b&password=hunter2");
        form.wrong("name", "Too short.");
        assert_eq!((form.value("name"), form.value("password"), form.text("password")), ("a b", "", "hunter2"));
        assert_eq!(form.error_of("name"), Some("Too short."));
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        assert!(Form::read(b"name=%FF%FE").is_err());
        assert!(Form::read(b"name=a%00b").is_err());
    }
}
