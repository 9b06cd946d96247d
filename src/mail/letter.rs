//! A mail as it is read: one layout for all, as HTML and as plain text.

use std::time::SystemTime;

use askama::Template;
use lettre::message::{
    Mailbox, Message, MultiPart,
    header::{HeaderName, HeaderValue},
};

use crate::domain::time::Time;

/// What a mail says. Every text is plain; what it came from cannot add markup, headers or links.
#[derive(Debug, Clone, Default)]
pub struct Letter {
    /// The subject.
    pub subject: String,
    /// What a list of mails shows after the subject.
    pub preview: String,
    /// The tenant's name; empty for mails about an account.
    pub place: String,
    /// The first line of the body.
    pub heading: String,
    /// What follows it.
    pub paragraphs: Vec<String>,
    /// One part for each key or link.
    pub blocks: Vec<Block>,
    /// What follows the parts, each with an address where it has one.
    pub after: Vec<(String, Option<String>)>,
    /// Why the recipient gets this.
    pub why: String,
    /// Whether links are left out: for who is not the recipient.
    pub hidden: bool,
}

/// A part of a mail about one thing.
#[derive(Debug, Clone, Default)]
pub struct Block {
    /// A mark: its colour (`warn` or `bad`) and its words.
    pub mark: Option<(&'static str, String)>,
    /// The name of the thing.
    pub title: String,
    /// What there is to say of it.
    pub lines: Vec<String>,
    /// Labels and values.
    pub facts: Vec<(String, String)>,
    /// A button and where it leads.
    pub button: Option<(String, String)>,
    /// A lesser link.
    pub aside: Option<(String, String)>,
}

/// What the head of a message is made of.
#[derive(Debug, Clone)]
pub struct Header<'a> {
    /// Whom it comes from.
    pub from: &'a str,
    /// The recipient's address.
    pub to: &'a str,
    /// The recipient's name; may be empty.
    pub name: &'a str,
    /// When it is sent.
    pub at: Time,
    /// The same each time that it is sent.
    pub message_id: String,
    /// What kind of mails it belongs to, as a domain name.
    pub list: String,
    /// Where to say that one wants no more of these.
    pub unsubscribe: Option<String>,
}

#[derive(Template)]
#[template(path = "mail/letter.html")]
struct Html<'a>(&'a Letter);

#[derive(Template)]
#[template(path = "mail/letter.txt")]
struct Text<'a>(&'a Letter);

impl Text<'_> {
    #[allow(clippy::unused_self)] // a template calls its own methods only
    fn wrapped(&self, text: &str, indent: &str) -> String {
        wrapped(text, indent)
    }
}

impl Letter {
    /// As HTML, readable in dark mode and without pictures.
    ///
    /// # Errors
    /// The template fails.
    pub fn html(&self) -> Result<String, askama::Error> {
        Html(&self.unlinked()).render()
    }

    /// As plain text, in lines of 72 characters.
    ///
    /// # Errors
    /// The template fails.
    pub fn text(&self) -> Result<String, askama::Error> {
        Ok(Text(&self.unlinked()).render()?.trim().to_owned() + "\n")
    }

    /// The same, with no text in it that a mail program makes a link of: what people may name things must lead nowhere.
    fn unlinked(&self) -> Self {
        let pairs = |all: &[(String, String)]| all.iter().map(|(label, value)| (unlinked(label), unlinked(value))).collect();
        let all = |texts: &[String]| texts.iter().map(|text| unlinked(text)).collect();
        let block = |block: &Block| Block { title: unlinked(&block.title), lines: all(&block.lines), facts: pairs(&block.facts), ..block.clone() };
        Self {
            subject: unlinked(&self.subject),
            preview: unlinked(&self.preview),
            place: unlinked(&self.place),
            heading: unlinked(&self.heading),
            paragraphs: all(&self.paragraphs),
            blocks: self.blocks.iter().map(block).collect(),
            after: self.after.iter().map(|(words, url)| (unlinked(words), url.clone())).collect(),
            ..self.clone()
        }
    }

    /// As a message that can be sent.
    ///
    /// # Errors
    /// What is wrong with it, in words: an address that no message can carry, for example.
    pub fn message(&self, header: &Header<'_>) -> Result<Message, String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let address = header.to.parse().map_err(|error| format!("the address {} cannot be used: {error}", header.to))?;
        let name = one_line(header.name);
        let raw = |name: &'static str, value: String| HeaderValue::new(HeaderName::new_from_ascii_str(name), value);
        let mut message = Message::builder()
            .from(header.from.parse::<Mailbox>().map_err(|error| format!("mail_from cannot be used: {error}"))?)
            .to(Mailbox::new(Some(name).filter(|name| !name.is_empty()), address))
            .subject(one_line(&self.subject))
            .date(SystemTime::from(header.at))
            .message_id(Some(header.message_id.clone()))
            .raw_header(raw("List-Id", format!("<{}>", header.list)))
            .raw_header(raw("Auto-Submitted", "auto-generated".into()));
        if let Some(address) = &header.unsubscribe {
            message = message
                .raw_header(raw("List-Unsubscribe", format!("<{address}>")))
                .raw_header(raw("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".into()));
        }
        let text = self.text().map_err(|error| words(&error))?;
        let html = self.html().map_err(|error| words(&error))?;
        message.multipart(MultiPart::alternative_plain_html(text, html)).map_err(|error| words(&error))
    }
}

/// A header is one line, whatever a name holds.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// A sign without width that no address may hold where it stands, so that even what is made a link leads nowhere.
const NO_LINK: char = '\u{200c}';

/// A text in which nothing looks like the address of a site: behind the dots of domains, and in `://`, stands a sign that nobody
/// sees. E-mail addresses stay as they are; they lead to no site, and people copy them.
fn unlinked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_inclusive(char::is_whitespace) {
        let mut rest = word.chars().peekable();
        while let Some(c) = rest.next() {
            out.push(c);
            let breaks = match c {
                '.' | '。' | '．' | '｡' => rest.peek().is_some_and(|next| next.is_alphabetic()) && !is_address(word),
                ':' => rest.peek() == Some(&'/'),
                _ => false,
            };
            if breaks {
                out.push(NO_LINK);
            }
        }
    }
    out
}

/// Whether a word is an e-mail address and nothing else.
fn is_address(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    word.matches('@').count() == 1 && word.chars().all(|c| c.is_alphanumeric() || "@._+-".contains(c))
}

/// Breaks a text into lines of at most 72 characters, later ones preceded by `indent`; an address is never broken.
fn wrapped(text: &str, indent: &str) -> String {
    let mut out = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > 72 {
            out.push('\n');
            out.push_str(indent);
            width = indent.len();
        } else if width > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
    }
    out
}
