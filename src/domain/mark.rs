//! A short mark of what something is now, so that a form that was drawn from another state of it is noticed.

/// The mark of these parts, in this order.
pub fn mark<T: AsRef<str>>(parts: impl IntoIterator<Item = T>) -> String {
    let mut hash = crc32fast::Hasher::new();
    for part in parts {
        let part = part.as_ref();
        hash.update(&part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    format!("{:08x}", hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::mark;

    #[test]
    fn what_differs_is_marked_otherwise() {
        let marks = [mark(["a", "b"]), mark(["ab"]), mark(["a", "b", ""]), mark(["b", "a"]), mark::<&str>([])];
        for (at, one) in marks.iter().enumerate() {
            assert_eq!(marks.iter().position(|other| other == one), Some(at), "{marks:?}");
        }
        assert_eq!(mark(["a", "b"]), mark(vec!["a".to_owned(), "b".to_owned()]));
    }
}
