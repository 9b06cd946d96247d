//! What the grid shows, read from its address and written into the addresses of its links. What makes no sense is passed over,
//! so that an old bookmark still opens.

use crate::{
    domain::ids::{AccessRoleId, KeyId, MemberId},
    store::grid::{AccessFilter, Cursor, Filter, Order, Sort, Tab, UsedFilter},
};

use super::form::Form;

/// The longest text that is looked for.
const MOST_TEXT: usize = 200;

/// Filter, order and place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeysQuery {
    /// What is shown.
    pub filter: Filter,
    /// In which order.
    pub order: Order,
    /// From where.
    pub at: Option<Cursor>,
}

/// What is looked for. A token that was pasted here is cut down to its key ID, which is all that it can find: a secret has no
/// place in addresses, and none in the event of an export.
fn searched(typed: &str) -> String {
    let typed = typed.trim();
    let id = typed.strip_prefix("kwk_").and_then(|rest| rest.split_once('_')).map(|(id, _)| id);
    id.and_then(KeyId::parse).map_or_else(|| typed.chars().take(MOST_TEXT).collect(), |id| id.to_string())
}

impl KeysQuery {
    /// The fields that say which keys are meant.
    pub const FIELDS: [&'static str; 5] = ["q", "owner", "access", "used", "status"];

    /// Reads it from the fields of an address or form.
    pub fn read(form: &Form) -> Self {
        let filter = Filter {
            text: searched(form.text("q")),
            owner: form.text("owner").parse().ok().map(MemberId),
            access: match form.text("access") {
                "owner" => Some(AccessFilter::Owner),
                "scopes" => Some(AccessFilter::Scopes),
                role => role.parse().ok().map(|id| AccessFilter::Role(AccessRoleId(id))),
            },
            used: match form.text("used") {
                "30" => Some(UsedFilter::NotFor30Days),
                "never" => Some(UsedFilter::Never),
                _ => None,
            },
            tab: Tab::ALL.iter().find(|(_, word, _)| *word == form.text("status")).map_or(Tab::All, |(tab, ..)| *tab),
        };
        let sort = form.text("sort");
        let (word, descending) = sort.strip_prefix('-').map_or((sort, false), |word| (word, true));
        let order = Sort::ALL.iter().find(|(_, w)| *w == word).map_or_else(Order::default, |(sort, _)| Order { sort: *sort, descending });
        Self { filter, order, at: Cursor::parse(form.text("at")) }
    }

    /// The fields that say which keys are meant, but the empty ones.
    pub fn filter_fields(&self) -> Vec<(&'static str, String)> {
        let filter = &self.filter;
        let access = match filter.access {
            None => String::new(),
            Some(AccessFilter::Owner) => "owner".into(),
            Some(AccessFilter::Scopes) => "scopes".into(),
            Some(AccessFilter::Role(id)) => id.to_string(),
        };
        let used = match filter.used {
            None => "",
            Some(UsedFilter::NotFor30Days) => "30",
            Some(UsedFilter::Never) => "never",
        };
        let status = Tab::ALL.iter().find(|(tab, ..)| *tab == filter.tab).map_or("", |(_, word, _)| word);
        let owner = filter.owner.map(|id| id.to_string()).unwrap_or_default();
        let fields = [("q", filter.text.clone()), ("owner", owner), ("access", access), ("used", used.into()), ("status", status.into())];
        fields.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }

    /// The order in an address; empty for the default.
    pub fn sort_word(&self) -> String {
        if self.order == Order::default() {
            return String::new();
        }
        let word = Sort::ALL.iter().find(|(sort, _)| *sort == self.order.sort).map_or("", |(_, word)| word);
        format!("{}{word}", if self.order.descending { "-" } else { "" })
    }

    /// Everything as the query of an address, with `?`; empty where nothing differs from the first page.
    pub fn to_query(&self) -> String {
        let mut fields = self.filter_fields();
        let sort = self.sort_word();
        if !sort.is_empty() {
            fields.push(("sort", sort));
        }
        if let Some(at) = &self.at {
            fields.push(("at", at.to_string()));
        }
        query(&fields)
    }

    /// The same keys from the beginning.
    #[must_use]
    pub fn first(&self) -> Self {
        Self { at: None, ..self.clone() }
    }

    /// The same with another status.
    #[must_use]
    pub fn with_tab(&self, tab: Tab) -> Self {
        let mut other = self.first();
        other.filter.tab = tab;
        other
    }

    /// The same in another order.
    #[must_use]
    pub fn with_order(&self, order: Order) -> Self {
        Self { order, ..self.first() }
    }

    /// The same from another place.
    #[must_use]
    pub fn with_place(&self, at: Option<Cursor>) -> Self {
        Self { at, ..self.clone() }
    }

    /// The filter in words, for what was searched: `“abc”, status Active`.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        if !self.filter.text.is_empty() {
            words.push(format!("“{}”", self.filter.text));
        }
        if self.filter.owner.is_some() {
            words.push("one owner".into());
        }
        if self.filter.access.is_some() {
            words.push("one kind of access".into());
        }
        match self.filter.used {
            Some(UsedFilter::Never) => words.push("never used".into()),
            Some(UsedFilter::NotFor30Days) => words.push("not used for 30 days".into()),
            None => {}
        }
        if let Some((_, _, word)) = Tab::ALL.iter().skip(1).find(|(tab, ..)| *tab == self.filter.tab) {
            words.push(format!("status {word}"));
        }
        words.join(", ")
    }
}

/// Fields as the query of an address, with `?`; empty for none.
pub fn query(fields: &[(&str, String)]) -> String {
    let text = serde_urlencoded::to_string(fields).unwrap_or_default();
    if text.is_empty() { text } else { format!("?{text}") }
}
